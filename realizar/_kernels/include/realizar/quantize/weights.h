/* How much the error of each element counts: alike, or by an importance matrix. */
#ifndef REALIZAR_QUANTIZE_WEIGHTS_H
#define REALIZAR_QUANTIZE_WEIGHTS_H

#include "realizar/quantize/lanes.h"

/* Elements whose inputs were always zero still count by this part of the mean: other texts may use them. */
#define LEAST_WEIGHT 1e-5f

/* Importances over their mean. n is a multiple of 16; the order of the sum is that of vectors of 16. */
static void normalize_weights(const float *w, size_t n, float *out)
{
    float sum[LANES] = {0};
    for (size_t i = 0; i < n; i += LANES)
        for (size_t j = 0; j < LANES; j++) sum[j] += w[i + j];
    float total = sum_of(sum, LANES), over_mean = total > 0 ? (float)n / total : 0;
    for (size_t i = 0; i < n; i++) out[i] = w[i] * over_mean + LEAST_WEIGHT;
}

/* Loads n_here blocks of `block` elements as groups of n; the last block also fills the lanes that are left. w: the
 * importances of these elements, or NULL for all alike. */
RZ_NOINLINE void load_blocks(const float *x, const float *w, size_t block, size_t n_here, int n, lane_groups *out)
{
    float weights[LANES * LONGEST_GROUP];
    const float *groups[LANES], *group_weights[LANES];
    size_t per_block = block / (size_t)n;
    if (w) normalize_weights(w, n_here * block, weights);
    for (size_t g = 0; g < LANES; g++) {
        size_t b = g / per_block < n_here ? g / per_block : n_here - 1;
        size_t at = b * block + g % per_block * (size_t)n;
        groups[g] = x + at, group_weights[g] = weights + at;
    }
    lanes_load(groups, n, out->x);
    if (w)
        lanes_load(group_weights, n, out->w);
    else
        for (int i = 0; i < n; i++) out->w[i] = f32x16_set(1);
}

#endif
