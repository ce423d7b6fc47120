/* Rotary position embedding of one head: rotates pairs of elements by the angles of the table. */
#ifndef REALIZAR_SCALAR_ROPE_H
#define REALIZAR_SCALAR_ROPE_H

#include <stddef.h>

/* J. Su et al., RoFormer, 2021. Pairs (i, i + half). */
static inline void rope_neox_f32(const float *x, const float *cos, const float *sin, size_t half, float *y)
{
    for (size_t i = 0; i < half; i++) {
        float a = x[i], b = x[i + half];
        y[i] = a * cos[i] - b * sin[i];
        y[i + half] = b * cos[i] + a * sin[i];
    }
}

/* The same with pairs (2i, 2i + 1). */
static inline void rope_norm_f32(const float *x, const float *cos, const float *sin, size_t half, float *y)
{
    for (size_t i = 0; i < half; i++) {
        float a = x[2 * i], b = x[2 * i + 1];
        y[2 * i] = a * cos[i] - b * sin[i];
        y[2 * i + 1] = b * cos[i] + a * sin[i];
    }
}

#endif
