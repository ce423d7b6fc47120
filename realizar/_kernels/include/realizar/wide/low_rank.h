/* The second product of a low-rank update, a tile of B at a time; see scalar/low_rank.h for the definition. */
#ifndef REALIZAR_WIDE_LOW_RANK_H
#define REALIZAR_WIDE_LOW_RANK_H

#include "realizar/table.h"

enum { FACTOR_COLS = RZ_FACTOR_TILE / 16 };

RZ_INLINE f32x16 load_factor(const void *b, size_t i, int is_half)
{
    return is_half ? f32x16_load_f16((const uint16_t *)b + i) : f32x16_load((const float *)b + i);
}

/* The first n elements of a tile; n is RZ_FACTOR_TILE, or the rest of y. */
RZ_INLINE void add_product_tile(const float *h, const void *b, size_t tile, size_t rank, size_t n, int is_half,
                                float *y)
{
    f32x16 sum[FACTOR_COLS];
    for (size_t j = 0; j < FACTOR_COLS; j++) {
        sum[j] = f32x16_zero();
        if (16 * j < n) sum[j] = f32x16_load_first(y + 16 * j, n - 16 * j);
    }
    for (size_t r = 0; r < rank; r++) {
        f32x16 factor = f32x16_set(h[r]);
        size_t place = (tile * rank + r) * RZ_FACTOR_TILE;
        for (size_t j = 0; j < FACTOR_COLS; j++)
            sum[j] = f32x16_fma(factor, load_factor(b, place + 16 * j, is_half), sum[j]);
    }
    for (size_t j = 0; j < FACTOR_COLS; j++)
        if (16 * j < n) f32x16_store_first(y + 16 * j, sum[j], n - 16 * j);
}

RZ_INLINE void add_product(const float *h, const void *b, size_t rank, size_t n, int is_half, float *y)
{
    size_t tile = 0;
    for (; (tile + 1) * RZ_FACTOR_TILE <= n; tile++)
        add_product_tile(h, b, tile, rank, RZ_FACTOR_TILE, is_half, y + tile * RZ_FACTOR_TILE);
    size_t done = tile * RZ_FACTOR_TILE;
    if (done < n) add_product_tile(h, b, tile, rank, n - done, is_half, y + done);
}

static void add_product_f32x16(const float *h, const void *b, size_t rank, size_t n, float *y)
{
    add_product(h, b, rank, n, 0, y);
}

static void add_product_f16x16(const float *h, const void *b, size_t rank, size_t n, float *y)
{
    add_product(h, b, rank, n, 1, y);
}

#endif
