/* Q5_0: 32 elements of 5 bits, value d * (q - 16). */
#ifndef REALIZAR_SCALAR_Q5_0_H
#define REALIZAR_SCALAR_Q5_0_H

#include "realizar/blocks.h"
#include "realizar/scalar/dot_f32.h"
#include "realizar/scalar/half.h"
#include "realizar/scalar/ints.h"

static inline void q5_0_unpack(const void *data, ints_32 *out)
{
    const rz_block_q5_0 *block = data;
    out->d = rz_f16_to_f32(block->d);
    for (int i = 0; i < 16; i++) {
        int low_high = block->qh[i / 8] >> i % 8 & 1, high_high = block->qh[2 + i / 8] >> i % 8 & 1;
        out->q[i] = (int8_t)(((block->qs[i] & 15) | low_high << 4) - 16);
        out->q[i + 16] = (int8_t)(((block->qs[i] >> 4) | high_high << 4) - 16);
    }
}

static void q5_0_dequantize(const void *w, size_t k, float *y)
{
    dequantize_32(q5_0_unpack, sizeof(rz_block_q5_0), NO_MIN, w, k, y);
}

static void q5_0_gemv(RZ_MATMUL_PARAMS) { gemv_32(q5_0_unpack, sizeof(rz_block_q5_0), NO_MIN, RZ_MATMUL_ARGS); }

static void q5_0_matmul_f32(RZ_MATMUL_PARAMS) { dequantize_and_dot(q5_0_dequantize, RZ_MATMUL_ARGS); }

#endif
