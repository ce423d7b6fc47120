/* Q4_1: 32 elements of 4 bits, value d * q + m. */
#ifndef REALIZAR_SCALAR_Q4_1_H
#define REALIZAR_SCALAR_Q4_1_H

#include "realizar/blocks.h"
#include "realizar/scalar/dot_f32.h"
#include "realizar/scalar/half.h"
#include "realizar/scalar/ints.h"

static inline void q4_1_unpack(const void *data, ints_32 *out)
{
    const rz_block_q4_1 *block = data;
    out->d = rz_f16_to_f32(block->d);
    out->m = rz_f16_to_f32(block->m);
    for (int i = 0; i < 16; i++) {
        out->q[i] = (int8_t)(block->qs[i] & 15);
        out->q[i + 16] = (int8_t)(block->qs[i] >> 4);
    }
}

static void q4_1_dequantize(const void *w, size_t k, float *y)
{
    dequantize_32(q4_1_unpack, sizeof(rz_block_q4_1), HAS_MIN, w, k, y);
}

static void q4_1_gemv(RZ_MATMUL_PARAMS) { gemv_32(q4_1_unpack, sizeof(rz_block_q4_1), HAS_MIN, RZ_MATMUL_ARGS); }

static void q4_1_matmul_f32(RZ_MATMUL_PARAMS) { dequantize_and_dot(q4_1_dequantize, RZ_MATMUL_ARGS); }

#endif
