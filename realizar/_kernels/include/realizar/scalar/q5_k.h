/* Q5_K: 256 elements of 5 bits in sub-blocks of 32, value d * scale * q - dmin * min. */
#ifndef REALIZAR_SCALAR_Q5_K_H
#define REALIZAR_SCALAR_Q5_K_H

#include "realizar/blocks.h"
#include "realizar/scalar/dot_f32.h"
#include "realizar/scalar/half.h"
#include "realizar/scalar/ints.h"
#include "realizar/scalar/k_scales.h"

static inline void q5_k_unpack(const void *data, ints_256 *out)
{
    const rz_block_q5_k *block = data;
    out->d = rz_f16_to_f32(block->d);
    out->m = rz_f16_to_f32(block->dmin);
    k_scales_unpack(block->scales, out);
    for (int i = 0; i < 128; i++) {
        int pair = i / 32, element = pair * 64 + i % 32;
        int low_high = block->qh[i % 32] >> 2 * pair & 1, high_high = block->qh[i % 32] >> (2 * pair + 1) & 1;
        out->q[element] = (int8_t)((block->qs[i] & 15) | low_high << 4);
        out->q[element + 32] = (int8_t)((block->qs[i] >> 4) | high_high << 4);
    }
}

static void q5_k_dequantize(const void *w, size_t k, float *y)
{
    dequantize_256(q5_k_unpack, sizeof(rz_block_q5_k), HAS_MIN, w, k, y);
}

static void q5_k_gemv(RZ_MATMUL_PARAMS) { gemv_256(q5_k_unpack, sizeof(rz_block_q5_k), HAS_MIN, RZ_MATMUL_ARGS); }

static void q5_k_matmul_f32(RZ_MATMUL_PARAMS) { dequantize_and_dot(q5_k_dequantize, RZ_MATMUL_ARGS); }

#endif
