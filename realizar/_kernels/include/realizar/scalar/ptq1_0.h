/* PTQ1_0: 128 base-3 digits, value d * (q - 1). */
#ifndef REALIZAR_SCALAR_PTQ1_0_H
#define REALIZAR_SCALAR_PTQ1_0_H

#include "realizar/blocks.h"
#include "realizar/scalar/dot_f32.h"
#include "realizar/scalar/half.h"
#include "realizar/scalar/ints.h"
#include "realizar/scalar/trits.h"

static inline void ptq1_0_unpack(const void *data, ints_32 *out)
{
    const rz_block_ptq1_0 *block = data;
    for (int i = 0; i < 128; i++) {
        int q = i < 80    ? trit_of_run(block->qs, 16, i)
                : i < 120 ? trit_of_run(block->qs + 16, 8, i - 80)
                          : trit_of_run(block->qh, 2, i - 120);
        out[i / 32].d = rz_f16_to_f32(block->d);
        out[i / 32].q[i % 32] = (int8_t)(q - 1);
    }
}

static void ptq1_0_dequantize(const void *w, size_t k, float *y)
{
    dequantize_parts(ptq1_0_unpack, 4, sizeof(rz_block_ptq1_0), NO_MIN, w, k, y);
}

static void ptq1_0_gemv(RZ_MATMUL_PARAMS)
{
    gemv_parts(ptq1_0_unpack, 4, sizeof(rz_block_ptq1_0), NO_MIN, RZ_MATMUL_ARGS);
}

static void ptq1_0_matmul_f32(RZ_MATMUL_PARAMS) { dequantize_and_dot(ptq1_0_dequantize, RZ_MATMUL_ARGS); }

#endif
