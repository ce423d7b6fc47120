/* The Hadamard transform of K (int8 and q4 caches), of V (q4 caches), and of the inputs of rotated weights. It keeps one
 * large element of a head from setting the scale of all. */
#ifndef REALIZAR_SCALAR_HADAMARD_H
#define REALIZAR_SCALAR_HADAMARD_H

#include <stddef.h>
#include <string.h>

/* Elements that are transformed together: the largest power of two that divides head_dim. */
static inline size_t hadamard_width(size_t head_dim) { return head_dim & -head_dim; }

/* x = H x for each `width` elements, H of +1 and -1; H H = width, so that (H q / width) . (H k) = q . k. */
static inline void hadamard(float *x, size_t head_dim)
{
    for (size_t distance = 1; distance < hadamard_width(head_dim); distance *= 2)
        for (size_t i = 0; i < head_dim; i += 2 * distance)
            for (size_t j = i; j < i + distance; j++) {
                float a = x[j], b = x[j + distance];
                x[j] = a + b;
                x[j + distance] = a - b;
            }
}

/* y = s * H x; n is a power of two. */
static inline void hadamard_row_f32(const float *x, float s, size_t n, float *y)
{
    memmove(y, x, n * sizeof *y);
    hadamard(y, n);
    for (size_t i = 0; i < n; i++) y[i] *= s;
}

#endif
