/* Element by element, sixteen at a time; meanings in scalar/elementwise.h. */
#ifndef REALIZAR_WIDE_ELEMENTWISE_H
#define REALIZAR_WIDE_ELEMENTWISE_H

#include "realizar/wide/math.h"

static void add_f32x16(const float *a, const float *b, size_t n, float *y)
{
    for (size_t i = 0; i < n; i += 16)
        f32x16_store_first(y + i, f32x16_add(f32x16_load_first(a + i, n - i), f32x16_load_first(b + i, n - i)), n - i);
}

static void mul_f32x16(const float *a, const float *b, size_t n, float *y)
{
    for (size_t i = 0; i < n; i += 16)
        f32x16_store_first(y + i, f32x16_mul(f32x16_load_first(a + i, n - i), f32x16_load_first(b + i, n - i)), n - i);
}

static void scale_f32x16(const float *x, float s, size_t n, float *y)
{
    for (size_t i = 0; i < n; i += 16)
        f32x16_store_first(y + i, f32x16_mul(f32x16_load_first(x + i, n - i), f32x16_set(s)), n - i);
}

static void silu_row_f32x16(const float *x, size_t n, float *y)
{
    for (size_t i = 0; i < n; i += 16) f32x16_store_first(y + i, silu_f32x16(f32x16_load_first(x + i, n - i)), n - i);
}

static void gelu_row_f32x16(const float *x, size_t n, float *y)
{
    for (size_t i = 0; i < n; i += 16) f32x16_store_first(y + i, gelu_f32x16(f32x16_load_first(x + i, n - i)), n - i);
}

static void silu_mul_f32x16(const float *gate, const float *up, size_t n, float *y)
{
    for (size_t i = 0; i < n; i += 16) {
        f32x16 silu = silu_f32x16(f32x16_load_first(gate + i, n - i));
        f32x16_store_first(y + i, f32x16_mul(silu, f32x16_load_first(up + i, n - i)), n - i);
    }
}

#endif
