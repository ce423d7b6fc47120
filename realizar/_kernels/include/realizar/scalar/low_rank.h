/* The second product of a low-rank update, added to the result of the product that it updates. */
#ifndef REALIZAR_SCALAR_LOW_RANK_H
#define REALIZAR_SCALAR_LOW_RANK_H

#include <math.h>

#include "realizar/scalar/half.h"
#include "realizar/table.h"

/* Element r of row c of B: where it is in the tiles. */
static inline size_t factor_place(size_t c, size_t r, size_t rank)
{
    return (c / RZ_FACTOR_TILE * rank + r) * RZ_FACTOR_TILE + c % RZ_FACTOR_TILE;
}

/* One chain of fma for each element, which begins with y. */
static void add_product_f32(const float *h, const void *b, size_t rank, size_t n, float *y)
{
    const float *factor = b;
    for (size_t c = 0; c < n; c++)
        for (size_t r = 0; r < rank; r++) y[c] = fmaf(h[r], factor[factor_place(c, r, rank)], y[c]);
}

static void add_product_f16(const float *h, const void *b, size_t rank, size_t n, float *y)
{
    const uint16_t *factor = b;
    for (size_t c = 0; c < n; c++)
        for (size_t r = 0; r < rank; r++) y[c] = fmaf(h[r], rz_f16_to_f32(factor[factor_place(c, r, rank)]), y[c]);
}

#endif
