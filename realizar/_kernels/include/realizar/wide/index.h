/* The scores of an indexer, sixteen keys at a time; defined in scalar/index.h. */
#ifndef REALIZAR_WIDE_INDEX_H
#define REALIZAR_WIDE_INDEX_H

#include <string.h>

#include "realizar/scalar/kv.h"
#include "realizar/wide/math.h"
#include "realizar/wide/outer.h"

/* Heads whose products with the keys of RZ_OUTER_COLS blocks are in registers together. */
enum { INDEX_ROWS = 4 };
_Static_assert(INDEX_ROWS <= RZ_OUTER_ROWS, "sums");
_Static_assert(RZ_OUTER_COLS * RZ_KV_BLOCK * RZ_ATTEND_MAX_HEAD_DIM * sizeof(float) <= RZ_INDEX_SCRATCH, "scratch");

RZ_INLINE void unpack_keys_as(const struct rz_index_args *args, size_t b, float *keys, int type)
{
    const char *block = args->k + (size_t)args->block_table[b] * args->k_block_stride;
    f32x16 scale = f32x16_zero();
    if (rz_kv_types[type].scale) scale = f32x16_load(kv_scales(block, args->head_dim, type));
    for (size_t d = 0; d < args->head_dim; d++) f32x16_store(keys + d * RZ_KV_BLOCK, load_k(block, d, scale, type));
}

/* The keys of a block as floats, [head_dim][16]: once for all heads. */
static void unpack_keys(const struct rz_index_args *args, size_t b, float *keys)
{
#define RZ_CASE(NAME, lower, group, bytes, lane, scale, transforms_k, transforms_v)                                    \
    case RZ_KV_##NAME:                                                                                                 \
        unpack_keys_as(args, b, keys, RZ_KV_##NAME);                                                                   \
        break;
    switch (args->k_type) {
        RZ_KV_TYPES(RZ_CASE)
    }
#undef RZ_CASE
}

/* score[c] += weight * relu(q . k) for the heads [h, h + rows), one after the other. */
RZ_INLINE void add_heads(const struct rz_index_args *args, size_t h, int rows, int cols, f32x16 score[RZ_OUTER_COLS])
{
    const float *q = args->q + h * args->head_dim, *keys = args->scratch;
    f32x16 sum[RZ_OUTER_ROWS][RZ_OUTER_COLS], k[RZ_OUTER_COLS];
    for (int r = 0; r < rows; r++)
        for (int c = 0; c < cols; c++) sum[r][c] = f32x16_zero();
    for (size_t d = 0; d < args->head_dim; d++) {
        for (int c = 0; c < cols; c++) k[c] = f32x16_load(keys + ((size_t)c * args->head_dim + d) * RZ_KV_BLOCK);
        add_outer(rows, cols, sum, q + d, args->head_dim, k);
    }
    for (int r = 0; r < rows; r++) {
        f32x16 weight = f32x16_set(args->weights[h + (size_t)r]);
        for (int c = 0; c < cols; c++) score[c] = f32x16_fma(weight, relu_f32x16(sum[r][c]), score[c]);
    }
}

RZ_INLINE void score_blocks(const struct rz_index_args *args, size_t b, int cols)
{
    f32x16 score[RZ_OUTER_COLS];
    size_t h = 0;
    for (int c = 0; c < cols; c++) {
        unpack_keys(args, b + (size_t)c, (float *)args->scratch + (size_t)c * args->head_dim * RZ_KV_BLOCK);
        score[c] = f32x16_zero();
    }
    for (; h + INDEX_ROWS <= args->n_head; h += INDEX_ROWS) add_heads(args, h, INDEX_ROWS, cols, score);
    for (; h < args->n_head; h++) add_heads(args, h, 1, cols, score);
    for (int c = 0; c < cols; c++) f32x16_store(args->scores + (b + (size_t)c) * RZ_KV_BLOCK, score[c]);
}

static void index_scores_f32x16(const struct rz_index_args *args)
{
    size_t b = args->first;
    for (; b + RZ_OUTER_COLS <= args->end; b += RZ_OUTER_COLS) score_blocks(args, b, RZ_OUTER_COLS);
    for (; b < args->end; b++) score_blocks(args, b, 1);
}

#endif
