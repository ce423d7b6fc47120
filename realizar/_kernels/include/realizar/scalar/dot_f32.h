/* Dot products of float rows: lane i mod 16 adds element i, in ascending order; a fixed tree sums the sixteen lanes. */
#ifndef REALIZAR_SCALAR_DOT_F32_H
#define REALIZAR_SCALAR_DOT_F32_H

#include <math.h>

#include "realizar/matmul.h"

/* 16 -> 8 -> 4 -> 2 -> 1, lane j taking lane j + half. */
static inline float sum_lanes(float *lane)
{
    for (int half = 8; half > 0; half /= 2)
        for (int j = 0; j < half; j++) lane[j] += lane[j + half];
    return lane[0];
}

static inline float dot_f32(const float *a, const float *b, size_t k)
{
    float lane[16] = {0};
    for (size_t i = 0; i < k; i++) lane[i % 16] = fmaf(a[i], b[i], lane[i % 16]);
    return sum_lanes(lane);
}

/* Any format against float rows: dequantizes each weight row once, into scratch, and multiplies it with every token. */
RZ_INLINE void dequantize_and_dot(rz_dequantize_fn *dequantize, RZ_MATMUL_PARAMS)
{
    float *row = scratch;
    for (size_t r = r0; r < r1; r++) {
        dequantize((const char *)w + r * w_stride, k, row);
        for (size_t t = 0; t < n; t++)
            y[t * ldy + r] = dot_f32(row, (const float *)((const char *)x + t * x_stride), k);
    }
}

#endif
