/* PQ2_0: 128 elements of 2 bits, value d * (q - 1). */
#ifndef REALIZAR_SCALAR_PQ2_0_H
#define REALIZAR_SCALAR_PQ2_0_H

#include "realizar/blocks.h"
#include "realizar/scalar/dot_f32.h"
#include "realizar/scalar/half.h"
#include "realizar/scalar/ints.h"
#include "realizar/scalar/q2_0.h"

static inline void pq2_0_unpack(const void *data, ints_32 *out)
{
    const rz_block_pq2_0 *block = data;
    unpack_pairs(block->d, block->qs, 128, out);
}

static void pq2_0_dequantize(const void *w, size_t k, float *y)
{
    dequantize_parts(pq2_0_unpack, 4, sizeof(rz_block_pq2_0), NO_MIN, w, k, y);
}

static void pq2_0_gemv(RZ_MATMUL_PARAMS)
{
    gemv_parts(pq2_0_unpack, 4, sizeof(rz_block_pq2_0), NO_MIN, RZ_MATMUL_ARGS);
}

static void pq2_0_matmul_f32(RZ_MATMUL_PARAMS) { dequantize_and_dot(pq2_0_dequantize, RZ_MATMUL_ARGS); }

#endif
