/* RMS and layer normalization of one row, sixteen elements at a time; defined in scalar/norm.h. */
#ifndef REALIZAR_WIDE_NORM_H
#define REALIZAR_WIDE_NORM_H

#include <math.h>

static void rms_norm_f32x16(const float *x, const float *w, float eps, size_t n, float *y)
{
    f32x16 square = f32x16_zero();
    for (size_t i = 0; i < n; i += 16) {
        f32x16 v = f32x16_load_first(x + i, n - i);
        square = f32x16_fma(v, v, square);
    }
    f32x16 r = f32x16_set(1 / sqrtf(f32x16_sum(square) / (float)n + eps));
    for (size_t i = 0; i < n; i += 16) {
        f32x16 unit = f32x16_mul(f32x16_load_first(x + i, n - i), r);
        f32x16_store_first(y + i, w ? f32x16_mul(unit, f32x16_load_first(w + i, n - i)) : unit, n - i);
    }
}

/* Past the end of the row, the differences from the mean are set to zero. */
RZ_INLINE f32x16 centred(const float *x, size_t n, f32x16 mean)
{
    f32x16 difference = f32x16_sub(f32x16_load_first(x, n), mean);
    return n >= 16 ? difference : f32x16_within(difference, 0, (int)n, f32x16_zero());
}

static void layer_norm_f32x16(const float *x, const float *w, const float *b, float eps, size_t n, float *y)
{
    f32x16 sum = f32x16_zero(), square = f32x16_zero();
    for (size_t i = 0; i < n; i += 16) sum = f32x16_add(sum, f32x16_load_first(x + i, n - i));
    f32x16 mean = f32x16_set(f32x16_sum(sum) / (float)n);
    for (size_t i = 0; i < n; i += 16) {
        f32x16 difference = centred(x + i, n - i, mean);
        square = f32x16_fma(difference, difference, square);
    }
    f32x16 r = f32x16_set(1 / sqrtf(f32x16_sum(square) / (float)n + eps));
    for (size_t i = 0; i < n; i += 16) {
        f32x16 unit = f32x16_mul(centred(x + i, n - i, mean), r);
        f32x16 scaled = w ? f32x16_mul(unit, f32x16_load_first(w + i, n - i)) : unit;
        f32x16_store_first(y + i, b ? f32x16_add(scaled, f32x16_load_first(b + i, n - i)) : scaled, n - i);
    }
}

#endif
