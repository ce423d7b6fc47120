/* Rounds floats to int8 with one scale: for activations and for the int8 cache. */
#ifndef REALIZAR_SCALAR_ROUND_INT8_H
#define REALIZAR_SCALAR_ROUND_INT8_H

#include <math.h>

#include "realizar/scalar/half.h"

/* |x| as bits: the integers have the order of the floats, and Inf and NaN are the largest. */
static inline uint32_t largest_bits(const float *x, size_t n)
{
    uint32_t amax = 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t bits = rz_f32_to_bits(x[i]) & 0x7fffffff;
        amax = bits > amax ? bits : amax;
    }
    return amax;
}

/* Writes q[n] and returns the scale d. If an element is Inf or NaN, d is NaN; if amax is below 2^-100, where 127 / amax
 * could overflow, all are zero. */
static inline float round_int8(const float *x, size_t n, int8_t *q)
{
    uint32_t amax_bits = largest_bits(x, n);
    float amax = rz_bits_to_f32(amax_bits);
    if (amax_bits >= 0x7f800000 || amax < 0x1p-100f) {
        memset(q, 0, n);
        return amax_bits >= 0x7f800000 ? NAN : 0;
    }
    float scale = 127 / amax;
    for (size_t i = 0; i < n; i++) {
        float rounded = rintf(x[i] * scale);
        rounded = rounded > 127 ? 127 : rounded;
        q[i] = (int8_t)(rounded < -127 ? -127 : rounded);
    }
    return amax / 127;
}

#endif
