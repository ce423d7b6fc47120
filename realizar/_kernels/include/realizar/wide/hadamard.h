/* The Hadamard transform of a head, sixteen elements at a time; defined in scalar/hadamard.h. */
#ifndef REALIZAR_WIDE_HADAMARD_H
#define REALIZAR_WIDE_HADAMARD_H

#include "realizar/scalar/hadamard.h"

/* Distances below 16: within registers. */
RZ_INLINE f32x16 hadamard_x16(f32x16 x, size_t width)
{
    if (width > 1) x = f32x16_butterfly(x, 1);
    if (width > 2) x = f32x16_butterfly(x, 2);
    if (width > 4) x = f32x16_butterfly(x, 4);
    if (width > 8) x = f32x16_butterfly(x, 8);
    return x;
}

/* y = H x * factor; y may be x. */
static void hadamard_f32x16(const float *x, size_t head_dim, float factor, float *y)
{
    size_t width = hadamard_width(head_dim);
    for (size_t d = 0; d < head_dim; d += 16)
        f32x16_store_first(y + d, hadamard_x16(f32x16_load_first(x + d, head_dim - d), width), head_dim - d);
    for (size_t distance = 16; distance < width; distance *= 2)
        for (size_t i = 0; i < head_dim; i += 2 * distance)
            for (size_t j = i; j < i + distance; j += 16) {
                f32x16 a = f32x16_load(y + j), b = f32x16_load(y + j + distance);
                f32x16_store(y + j, f32x16_add(a, b));
                f32x16_store(y + j + distance, f32x16_sub(a, b));
            }
    for (size_t d = 0; d < head_dim && factor != 1; d += 16)
        f32x16_store_first(y + d, f32x16_mul(f32x16_load_first(y + d, head_dim - d), f32x16_set(factor)), head_dim - d);
}

static void hadamard_row_f32x16(const float *x, float s, size_t n, float *y) { hadamard_f32x16(x, n, s, y); }

#endif
