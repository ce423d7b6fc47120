/* Softmax of one row. */
#ifndef REALIZAR_SCALAR_SOFTMAX_H
#define REALIZAR_SCALAR_SOFTMAX_H

#include "realizar/scalar/dot_f32.h"
#include "realizar/scalar/math.h"

/* exp(x - max) / sum; a NaN makes the whole row NaN. y may be x. */
static void softmax_f32(const float *x, size_t n, float *y)
{
    float max = -INFINITY, sum[16] = {0};
    for (size_t i = 0; i < n; i++) max = x[i] > max ? x[i] : max;
    for (size_t i = 0; i < n; i++) {
        y[i] = exp_f32(x[i] - max);
        sum[i % 16] += y[i];
    }
    float total = sum_lanes(sum);
    for (size_t i = 0; i < n; i++) y[i] /= total;
}

#endif
