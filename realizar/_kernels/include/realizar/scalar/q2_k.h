/* Q2_K: 256 elements of 2 bits in sub-blocks of 16, value d * scale * q - dmin * min. */
#ifndef REALIZAR_SCALAR_Q2_K_H
#define REALIZAR_SCALAR_Q2_K_H

#include "realizar/blocks.h"
#include "realizar/scalar/dot_f32.h"
#include "realizar/scalar/half.h"
#include "realizar/scalar/ints.h"

static inline void q2_k_unpack(const void *data, ints_256 *out)
{
    const rz_block_q2_k *block = data;
    out->d = rz_f16_to_f32(block->d);
    out->m = rz_f16_to_f32(block->dmin);
    for (int g = 0; g < 16; g++) {
        out->scale[g] = (int8_t)(block->scales[g] & 15);
        out->min[g] = block->scales[g] >> 4;
    }
    for (int i = 0; i < 256; i++) out->q[i] = (int8_t)(block->qs[i / 128 * 32 + i % 32] >> i % 128 / 32 * 2 & 3);
}

static void q2_k_dequantize(const void *w, size_t k, float *y)
{
    dequantize_256(q2_k_unpack, sizeof(rz_block_q2_k), HAS_MIN, w, k, y);
}

static void q2_k_gemv(RZ_MATMUL_PARAMS) { gemv_256(q2_k_unpack, sizeof(rz_block_q2_k), HAS_MIN, RZ_MATMUL_ARGS); }

static void q2_k_matmul_f32(RZ_MATMUL_PARAMS) { dequantize_and_dot(q2_k_dequantize, RZ_MATMUL_ARGS); }

#endif
