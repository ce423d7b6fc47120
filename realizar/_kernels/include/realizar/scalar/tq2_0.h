/* TQ2_0: 256 elements of 2 bits, value d * (q - 1). */
#ifndef REALIZAR_SCALAR_TQ2_0_H
#define REALIZAR_SCALAR_TQ2_0_H

#include "realizar/blocks.h"
#include "realizar/scalar/dot_f32.h"
#include "realizar/scalar/half.h"
#include "realizar/scalar/ints.h"
#include "realizar/scalar/no_scales.h"

static inline void tq2_0_unpack(const void *data, ints_256 *out)
{
    const rz_block_tq2_0 *block = data;
    unpack_one_scale(block->d, out);
    for (int i = 0; i < 256; i++) out->q[i] = (int8_t)((block->qs[i / 128 * 32 + i % 32] >> i % 128 / 32 * 2 & 3) - 1);
}

static void tq2_0_dequantize(const void *w, size_t k, float *y)
{
    dequantize_256(tq2_0_unpack, sizeof(rz_block_tq2_0), NO_MIN, w, k, y);
}

static void tq2_0_gemv(RZ_MATMUL_PARAMS) { gemv_256(tq2_0_unpack, sizeof(rz_block_tq2_0), NO_MIN, RZ_MATMUL_ARGS); }

static void tq2_0_matmul_f32(RZ_MATMUL_PARAMS) { dequantize_and_dot(tq2_0_dequantize, RZ_MATMUL_ARGS); }

#endif
