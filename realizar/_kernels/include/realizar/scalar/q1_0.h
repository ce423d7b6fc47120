/* Q1_0: 128 elements of 1 bit, value d * (2 * q - 1). */
#ifndef REALIZAR_SCALAR_Q1_0_H
#define REALIZAR_SCALAR_Q1_0_H

#include "realizar/blocks.h"
#include "realizar/scalar/dot_f32.h"
#include "realizar/scalar/half.h"
#include "realizar/scalar/ints.h"

static inline void q1_0_unpack(const void *data, ints_32 *out)
{
    const rz_block_q1_0 *block = data;
    for (int i = 0; i < 128; i++) {
        out[i / 32].d = rz_f16_to_f32(block->d);
        out[i / 32].q[i % 32] = (int8_t)(2 * (block->qs[i / 8] >> i % 8 & 1) - 1);
    }
}

static void q1_0_dequantize(const void *w, size_t k, float *y)
{
    dequantize_parts(q1_0_unpack, 4, sizeof(rz_block_q1_0), NO_MIN, w, k, y);
}

static void q1_0_gemv(RZ_MATMUL_PARAMS) { gemv_parts(q1_0_unpack, 4, sizeof(rz_block_q1_0), NO_MIN, RZ_MATMUL_ARGS); }

static void q1_0_matmul_f32(RZ_MATMUL_PARAMS) { dequantize_and_dot(q1_0_dequantize, RZ_MATMUL_ARGS); }

#endif
