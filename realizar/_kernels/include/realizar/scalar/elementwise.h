/* Element by element: sums, products, silu, gelu. y may be an input. */
#ifndef REALIZAR_SCALAR_ELEMENTWISE_H
#define REALIZAR_SCALAR_ELEMENTWISE_H

#include <stddef.h>

#include "realizar/scalar/math.h"

static void add_f32(const float *a, const float *b, size_t n, float *y)
{
    for (size_t i = 0; i < n; i++) y[i] = a[i] + b[i];
}

static void mul_f32(const float *a, const float *b, size_t n, float *y)
{
    for (size_t i = 0; i < n; i++) y[i] = a[i] * b[i];
}

static void scale_f32(const float *x, float s, size_t n, float *y)
{
    for (size_t i = 0; i < n; i++) y[i] = x[i] * s;
}

static void silu_row_f32(const float *x, size_t n, float *y)
{
    for (size_t i = 0; i < n; i++) y[i] = silu_f32(x[i]);
}

static void gelu_row_f32(const float *x, size_t n, float *y)
{
    for (size_t i = 0; i < n; i++) y[i] = gelu_f32(x[i]);
}

static void silu_mul_f32(const float *gate, const float *up, size_t n, float *y)
{
    for (size_t i = 0; i < n; i++) y[i] = silu_f32(gate[i]) * up[i];
}

#endif
