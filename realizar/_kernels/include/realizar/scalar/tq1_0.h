/* TQ1_0: 256 base-3 digits, value d * (q - 1). */
#ifndef REALIZAR_SCALAR_TQ1_0_H
#define REALIZAR_SCALAR_TQ1_0_H

#include "realizar/blocks.h"
#include "realizar/scalar/dot_f32.h"
#include "realizar/scalar/half.h"
#include "realizar/scalar/ints.h"
#include "realizar/scalar/no_scales.h"
#include "realizar/scalar/trits.h"

static inline void tq1_0_unpack(const void *data, ints_256 *out)
{
    const rz_block_tq1_0 *block = data;
    unpack_one_scale(block->d, out);
    for (int i = 0; i < 256; i++) {
        int q = i < 160   ? trit_of_run(block->qs, 32, i)
                : i < 240 ? trit_of_run(block->qs + 32, 16, i - 160)
                          : trit_of_run(block->qh, 4, i - 240);
        out->q[i] = (int8_t)(q - 1);
    }
}

static void tq1_0_dequantize(const void *w, size_t k, float *y)
{
    dequantize_256(tq1_0_unpack, sizeof(rz_block_tq1_0), NO_MIN, w, k, y);
}

static void tq1_0_gemv(RZ_MATMUL_PARAMS) { gemv_256(tq1_0_unpack, sizeof(rz_block_tq1_0), NO_MIN, RZ_MATMUL_ARGS); }

static void tq1_0_matmul_f32(RZ_MATMUL_PARAMS) { dequantize_and_dot(tq1_0_dequantize, RZ_MATMUL_ARGS); }

#endif
