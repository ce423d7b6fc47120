/* Softmax of one row, sixteen elements at a time; defined in scalar/softmax.h. */
#ifndef REALIZAR_WIDE_SOFTMAX_H
#define REALIZAR_WIDE_SOFTMAX_H

#include "realizar/wide/math.h"

/* The lanes of x below n; `other` elsewhere. */
RZ_INLINE f32x16 below(f32x16 x, size_t n, f32x16 other) { return n >= 16 ? x : f32x16_within(x, 0, (int)n, other); }

static void softmax_f32x16(const float *x, size_t n, float *y)
{
    f32x16 least = f32x16_set(-INFINITY), max = least, sum = f32x16_zero();
    for (size_t i = 0; i < n; i += 16) max = f32x16_max(below(f32x16_load_first(x + i, n - i), n - i, least), max);
    max = f32x16_set(f32x16_largest(max));
    for (size_t i = 0; i < n; i += 16) {
        f32x16 e = exp_f32x16(f32x16_sub(f32x16_load_first(x + i, n - i), max));
        f32x16_store_first(y + i, e, n - i);
        sum = f32x16_add(sum, below(e, n - i, f32x16_zero()));
    }
    f32x16 total = f32x16_set(f32x16_sum(sum));
    for (size_t i = 0; i < n; i += 16)
        f32x16_store_first(y + i, f32x16_div(f32x16_load_first(y + i, n - i), total), n - i);
}

#endif
