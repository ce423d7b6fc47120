/* Q4_0: 32 elements of 4 bits, value d * (q - 8). */
#ifndef REALIZAR_SCALAR_Q4_0_H
#define REALIZAR_SCALAR_Q4_0_H

#include "realizar/blocks.h"
#include "realizar/scalar/dot_f32.h"
#include "realizar/scalar/half.h"
#include "realizar/scalar/ints.h"

static inline void q4_0_unpack(const void *data, ints_32 *out)
{
    const rz_block_q4_0 *block = data;
    out->d = rz_f16_to_f32(block->d);
    for (int i = 0; i < 16; i++) {
        out->q[i] = (int8_t)((block->qs[i] & 15) - 8);
        out->q[i + 16] = (int8_t)((block->qs[i] >> 4) - 8);
    }
}

static void q4_0_dequantize(const void *w, size_t k, float *y)
{
    dequantize_32(q4_0_unpack, sizeof(rz_block_q4_0), NO_MIN, w, k, y);
}

static void q4_0_gemv(RZ_MATMUL_PARAMS) { gemv_32(q4_0_unpack, sizeof(rz_block_q4_0), NO_MIN, RZ_MATMUL_ARGS); }

static void q4_0_matmul_f32(RZ_MATMUL_PARAMS) { dequantize_and_dot(q4_0_dequantize, RZ_MATMUL_ARGS); }

#endif
