/* Q8_0: 32 elements of 8 bits, value d * q. */
#ifndef REALIZAR_SCALAR_Q8_0_H
#define REALIZAR_SCALAR_Q8_0_H

#include "realizar/blocks.h"
#include "realizar/scalar/dot_f32.h"
#include "realizar/scalar/half.h"
#include "realizar/scalar/ints.h"

static inline void q8_0_unpack(const void *data, ints_32 *out)
{
    const rz_block_q8_0 *block = data;
    out->d = rz_f16_to_f32(block->d);
    memcpy(out->q, block->qs, 32);
}

static void q8_0_dequantize(const void *w, size_t k, float *y)
{
    dequantize_32(q8_0_unpack, sizeof(rz_block_q8_0), NO_MIN, w, k, y);
}

static void q8_0_gemv(RZ_MATMUL_PARAMS) { gemv_32(q8_0_unpack, sizeof(rz_block_q8_0), NO_MIN, RZ_MATMUL_ARGS); }

static void q8_0_matmul_f32(RZ_MATMUL_PARAMS) { dequantize_and_dot(q8_0_dequantize, RZ_MATMUL_ARGS); }

#endif
