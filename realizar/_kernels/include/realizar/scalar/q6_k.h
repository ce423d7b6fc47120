/* Q6_K: 256 elements of 6 bits in sub-blocks of 16, value d * scale * (q - 32). */
#ifndef REALIZAR_SCALAR_Q6_K_H
#define REALIZAR_SCALAR_Q6_K_H

#include "realizar/blocks.h"
#include "realizar/scalar/dot_f32.h"
#include "realizar/scalar/half.h"
#include "realizar/scalar/ints.h"

static inline void q6_k_unpack(const void *data, ints_256 *out)
{
    const rz_block_q6_k *block = data;
    out->d = rz_f16_to_f32(block->d);
    out->m = 0;
    memcpy(out->scale, block->scales, 16);
    memset(out->min, 0, 16);
    for (int i = 0; i < 256; i++) {
        int half = i / 128, quarter = i % 128 / 32;
        int low = block->ql[half * 64 + i % 64] >> quarter / 2 * 4 & 15;
        int high = block->qh[half * 32 + i % 32] >> quarter * 2 & 3;
        out->q[i] = (int8_t)((low | high << 4) - 32);
    }
}

static void q6_k_dequantize(const void *w, size_t k, float *y)
{
    dequantize_256(q6_k_unpack, sizeof(rz_block_q6_k), NO_MIN, w, k, y);
}

static void q6_k_gemv(RZ_MATMUL_PARAMS) { gemv_256(q6_k_unpack, sizeof(rz_block_q6_k), NO_MIN, RZ_MATMUL_ARGS); }

static void q6_k_matmul_f32(RZ_MATMUL_PARAMS) { dequantize_and_dot(q6_k_dequantize, RZ_MATMUL_ARGS); }

#endif
