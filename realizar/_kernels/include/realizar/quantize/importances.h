/* How much the error of each element counts: alike, or by an importance matrix. */
#ifndef REALIZAR_QUANTIZE_IMPORTANCES_H
#define REALIZAR_QUANTIZE_IMPORTANCES_H

#include "realizar/quantize/lanes.h"

/* Elements whose inputs were always zero still count by this part of the mean: other texts may use them. */
#define LEAST_IMPORTANCE 1e-5f

/* The importances of each block of n elements over their mean; in double, where no sum or quotient overflows. n is a
 * multiple of 16; the order of the sum is that of vectors of 16. */
static void normalize_importances(const float *w, size_t n, size_t n_blocks, float *out)
{
    for (size_t b = 0; b < n_blocks; b++, w += n, out += n) {
        double sums[LANES] = {0}, total = 0;
        for (size_t i = 0; i < n; i += LANES)
            for (size_t j = 0; j < LANES; j++) sums[j] += w[i + j];
        for (size_t j = 0; j < LANES; j++) total += sums[j];
        double over_mean = total > 0 ? (double)n / total : 0;
        for (size_t i = 0; i < n; i++) out[i] = (float)(w[i] * over_mean) + LEAST_IMPORTANCE;
    }
}

/* Loads n_here blocks of `block` elements as groups of n; the last block also fills the lanes that are left. w: the
 * normalized importances of these elements, or NULL for all alike. */
RZ_NOINLINE void load_normalized(const float *x, const float *w, size_t block, size_t n_here, int n, lane_groups *out)
{
    const float *groups[LANES], *importances[LANES];
    size_t per_block = block / (size_t)n;
    for (size_t g = 0; g < LANES; g++) {
        size_t b = g / per_block < n_here ? g / per_block : n_here - 1;
        size_t at = b * block + g % per_block * (size_t)n;
        groups[g] = x + at, importances[g] = w ? w + at : NULL;
    }
    lanes_load(groups, n, out->x);
    out->has_importances = w != NULL;
    if (w)
        lanes_load(importances, n, out->w);
    else
        for (int i = 0; i < n; i++) out->w[i] = f32x16_set(1);
}

/* The same for importances as they are in the matrix. */
static void load_blocks(const float *x, const float *w, size_t block, size_t n_here, int n, lane_groups *out)
{
    float normalized[LANES * LONGEST_GROUP];
    if (w) normalize_importances(w, block, n_here, normalized);
    load_normalized(x, w ? normalized : NULL, block, n_here, n, out);
}

#endif
