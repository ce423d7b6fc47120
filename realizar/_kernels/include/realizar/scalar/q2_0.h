/* Q2_0: 64 elements of 2 bits, value d * (q - 1). */
#ifndef REALIZAR_SCALAR_Q2_0_H
#define REALIZAR_SCALAR_Q2_0_H

#include "realizar/blocks.h"
#include "realizar/scalar/dot_f32.h"
#include "realizar/scalar/half.h"
#include "realizar/scalar/ints.h"

/* The n elements of a block whose bit pairs are in order. */
RZ_INLINE void unpack_pairs(uint16_t d, const uint8_t *qs, int n, ints_32 *out)
{
    for (int i = 0; i < n; i++) {
        out[i / 32].d = rz_f16_to_f32(d);
        out[i / 32].q[i % 32] = (int8_t)((qs[i / 4] >> i % 4 * 2 & 3) - 1);
    }
}

static inline void q2_0_unpack(const void *data, ints_32 *out)
{
    const rz_block_q2_0 *block = data;
    unpack_pairs(block->d, block->qs, 64, out);
}

static void q2_0_dequantize(const void *w, size_t k, float *y)
{
    dequantize_parts(q2_0_unpack, 2, sizeof(rz_block_q2_0), NO_MIN, w, k, y);
}

static void q2_0_gemv(RZ_MATMUL_PARAMS) { gemv_parts(q2_0_unpack, 2, sizeof(rz_block_q2_0), NO_MIN, RZ_MATMUL_ARGS); }

static void q2_0_matmul_f32(RZ_MATMUL_PARAMS) { dequantize_and_dot(q2_0_dequantize, RZ_MATMUL_ARGS); }

#endif
