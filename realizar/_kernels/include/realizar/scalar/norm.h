/* RMS and layer normalization of one row. */
#ifndef REALIZAR_SCALAR_NORM_H
#define REALIZAR_SCALAR_NORM_H

#include "realizar/scalar/dot_f32.h"

/* B. Zhang, R. Sennrich, Root Mean Square Layer Normalization, 2019. */
static void rms_norm_f32(const float *x, const float *w, float eps, size_t n, float *y)
{
    float r = 1 / sqrtf(dot_f32(x, x, n) / (float)n + eps);
    for (size_t i = 0; i < n; i++) {
        float unit = x[i] * r;
        y[i] = w ? unit * w[i] : unit;
    }
}

/* J. L. Ba et al., Layer Normalization, 2016; the variance is computed from the differences, in a separate pass. */
static void layer_norm_f32(const float *x, const float *w, const float *b, float eps, size_t n, float *y)
{
    float sum[16] = {0}, square[16] = {0};
    for (size_t i = 0; i < n; i++) sum[i % 16] += x[i];
    float mean = sum_lanes(sum) / (float)n;
    for (size_t i = 0; i < n; i++) square[i % 16] = fmaf(x[i] - mean, x[i] - mean, square[i % 16]);
    float r = 1 / sqrtf(sum_lanes(square) / (float)n + eps);
    for (size_t i = 0; i < n; i++) {
        float unit = (x[i] - mean) * r;
        float scaled = w ? unit * w[i] : unit;
        y[i] = b ? scaled + b[i] : scaled;
    }
}

#endif
