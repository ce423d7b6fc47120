/* The scores of an indexer: for each key, the weighted sum of relu(q . k) over the heads. */
#ifndef REALIZAR_SCALAR_INDEX_H
#define REALIZAR_SCALAR_INDEX_H

#include "realizar/scalar/kv.h"

static inline float index_score(const struct rz_index_args *args, const char *block, int slot)
{
    float score = 0;
    for (size_t h = 0; h < args->n_head; h++) {
        const float *q = args->q + h * args->head_dim;
        float s = 0;
        for (size_t d = 0; d < args->head_dim; d++)
            s = fmaf(q[d], k_load(block, d, slot, args->head_dim, args->k_type), s);
        score = fmaf(args->weights[h], relu_f32(s), score);
    }
    return score;
}

static void index_scores_f32(const struct rz_index_args *args)
{
    for (size_t b = args->first; b < args->end; b++) {
        const char *block = args->k + (size_t)args->block_table[b] * args->k_block_stride;
        for (int slot = 0; slot < RZ_KV_BLOCK; slot++)
            args->scores[b * RZ_KV_BLOCK + (size_t)slot] = index_score(args, block, slot);
    }
}

#endif
