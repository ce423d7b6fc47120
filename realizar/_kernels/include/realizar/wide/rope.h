/* Rotary position embedding of one head, sixteen elements at a time; defined in scalar/rope.h. */
#ifndef REALIZAR_WIDE_ROPE_H
#define REALIZAR_WIDE_ROPE_H

#include "realizar/scalar/rope.h"

static void rope_neox_f32x16(const float *x, const float *cos, const float *sin, size_t half, float *y)
{
    for (size_t i = 0; i < half; i += 16) {
        size_t n = half - i;
        f32x16 a = f32x16_load_first(x + i, n), b = f32x16_load_first(x + half + i, n);
        f32x16 c = f32x16_load_first(cos + i, n), s = f32x16_load_first(sin + i, n);
        f32x16_store_first(y + i, f32x16_sub(f32x16_mul(a, c), f32x16_mul(b, s)), n);
        f32x16_store_first(y + half + i, f32x16_add(f32x16_mul(b, c), f32x16_mul(a, s)), n);
    }
}

/* a - b is a + -b: the partner of each even element is negated. */
static void rope_norm_f32x16(const float *x, const float *cos, const float *sin, size_t half, float *y)
{
    size_t i = 0;
    for (; i + 8 <= half; i += 8) {
        f32x16 pairs = f32x16_load(x + 2 * i), c = f32x16_load_twice(cos + i), s = f32x16_load_twice(sin + i);
        f32x16 partners = f32x16_negate_even(f32x16_mul(f32x16_swap_pairs(pairs), s));
        f32x16_store(y + 2 * i, f32x16_add(f32x16_mul(pairs, c), partners));
    }
    rope_norm_f32(x + 2 * i, cos + i, sin + i, half - i, y + 2 * i);
}

#endif
