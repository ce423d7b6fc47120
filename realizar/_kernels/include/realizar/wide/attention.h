/* Attention of one split: tiles of 64 keys against all queries; meaning in scalar/attention.h.
 *
 *     for each tile of keys
 *         for each set of queries
 *             score    s[query][key]  = scale * q.k    queries x keys in registers, over head_dim
 *             soften   p[query][key]  = exp(s - max)   running max and sum; the acc so far is scaled down
 *             gather   acc[query][d] += p.v            queries x head_dim in registers, over keys
 *
 * A set is so many queries that their sums fill the registers; each K or V that is loaded serves all of them. Where
 * the queries of a set do not see the same keys, those that all see go together, the others query by query. */
#ifndef REALIZAR_WIDE_ATTENTION_H
#define REALIZAR_WIDE_ATTENTION_H

#include <string.h>

#include <stdbool.h>

#include "realizar/scalar/kv.h"
#include "realizar/scalar/visible.h"
#include "realizar/wide/attention_products.h"
#include "realizar/wide/elementwise.h"

/* ---- score ------------------------------------------------------------------------------------------------------- */

/* Whole blocks of keys, several at once where there are so many. */
static void score(const struct rz_attend_args *args, attend_tile *tile, int row, int rows, scores_fn *scores)
{
    int block = tile->first[row] / RZ_KV_BLOCK, cols;
    int end = (tile->end[row + rows - 1] + RZ_KV_BLOCK - 1) / RZ_KV_BLOCK;
    for (; block < end; block += cols) {
        cols = end - block >= outer_cols(rows) ? outer_cols(rows) : 1;
        scores(args, tile, row, rows, block, cols);
    }
}

/* ---- soften ------------------------------------------------------------------------------------------------------ */

/* In place, for the keys [first, end) of a row. */
static void cap_scores(float *s, float softcap, int first, int end)
{
    f32x16 cap = f32x16_set(softcap);
    for (int key = first & -16; key < end; key += 16) {
        f32x16 ratio = f32x16_div(f32x16_load(s + key), cap);
        f32x16_store(s + key, f32x16_mul(cap, tanh_f32x16(ratio)));
    }
}

/* The largest score of the keys [first, end). */
RZ_INLINE float largest_score(const float *s, int first, int end)
{
    f32x16 least = f32x16_set(-INFINITY), max = least;
    for (int key = first & -16; key < end; key += 16)
        max = f32x16_max(f32x16_within(f32x16_load(s + key), first - key, end - key, least), max);
    return f32x16_largest(max);
}

/* Turns the scores of the keys [first, end) into weights and returns their sum; other keys of their blocks get 0. */
RZ_INLINE float weigh(float *s, float max, int first, int end)
{
    f32x16 max_f32x16 = f32x16_set(max), sum = f32x16_zero();
    for (int key = first & -16; key < end; key += 16) {
        f32x16 p = exp_f32x16(f32x16_sub(f32x16_load(s + key), max_f32x16));
        p = f32x16_within(p, first - key, end - key, f32x16_zero());
        f32x16_store(s + key, p);
        sum = f32x16_add(sum, p);
    }
    return f32x16_sum(sum);
}

/* The rows that see a whole tile, by far the most, get loops of constant length. */
static inline bool sees_all(const attend_tile *tile, int row)
{
    return tile->first[row] == 0 && tile->end[row] == RZ_ATTEND_TILE;
}

/* Weights, running maxima and sums of some rows; what they have gathered so far is scaled to the new maxima. */
static void soften(const struct rz_attend_args *args, attend_tile *tile, int row, int rows)
{
    float max[16], correction[16];
    for (int r = 0; r < rows; r++) {
        float *s = tile->s[row + r];
        int first = tile->first[row + r], end = tile->end[row + r];
        if (args->softcap != 0) cap_scores(s, args->softcap, first, end);
        max[r] = sees_all(tile, row + r) ? largest_score(s, 0, RZ_ATTEND_TILE) : largest_score(s, first, end);
    }
    f32x16 old = f32x16_load_first(args->m + row, (size_t)rows);
    f32x16 new = f32x16_add(f32x16_max(f32x16_load_first(max, (size_t)rows), old), f32x16_zero());
    f32x16_store_first(args->m + row, new, (size_t)rows);
    f32x16_store(max, new);
    f32x16_store(correction, exp_f32x16(f32x16_sub(old, new)));
    for (int r = 0; r < rows; r++) {
        float *s = tile->s[row + r], *acc = args->acc + (size_t)(row + r) * (size_t)args->head_dim_v;
        int first = tile->first[row + r], end = tile->end[row + r];
        float sum = sees_all(tile, row + r) ? weigh(s, max[r], 0, RZ_ATTEND_TILE) : weigh(s, max[r], first, end);
        args->l[row + r] = fmaf(args->l[row + r], correction[r], sum);
        if (correction[r] != 1) scale_f32x16(acc, correction[r], (size_t)args->head_dim_v, acc);
    }
}
_Static_assert(RZ_OUTER_ROWS <= 16, "soften");

/* ---- gather ------------------------------------------------------------------------------------------------------ */

/* The keys [first, end), which all of the rows see. */
static void gather_common(const struct rz_attend_args *args, const attend_tile *tile, int row, int rows, int first,
                          int end, values_fn *values)
{
    size_t head_dim = (size_t)args->head_dim_v, column = 0, cols;
    for (; column + 16 <= head_dim; column += 16 * cols) {
        cols = (size_t)outer_cols(rows);
        cols = column + 16 * cols <= head_dim ? cols : 1;
        values(args, tile, row, rows, first, end, column, (int)cols, 0);
    }
    if (column < head_dim) values(args, tile, row, rows, first, end, column, 1, head_dim - column);
}

/* Keys ascend for each row: those before the common ones, the common ones, those after them. */
static void gather(const struct rz_attend_args *args, const attend_tile *tile, int row, int rows, values_fn *values)
{
    int last = row + rows - 1, first = tile->first[last], end = tile->end[row];
    if (first >= end) first = end = tile->end[last];
    for (int r = row; r <= last; r++) {
        int own_end = tile->end[r] < first ? tile->end[r] : first;
        if (tile->first[r] < own_end) gather_common(args, tile, r, 1, tile->first[r], own_end, values);
    }
    if (first < end) gather_common(args, tile, row, rows, first, end, values);
    for (int r = row; r <= last; r++)
        if (end < tile->end[r]) gather_common(args, tile, r, 1, end, tile->end[r], values);
}

/* ---- the split --------------------------------------------------------------------------------------------------- */

/* Queries side by side, and nothing seen so far. */
static void open_split(const struct rz_attend_args *args, attend_tile *tile)
{
    int n = args->n_tokens * args->n_group;
    size_t head_dim = (size_t)args->head_dim_k;
    for (int row = 0; row < n; row++) {
        size_t t = (size_t)(row / args->n_group), h = (size_t)(row % args->n_group);
        memcpy(tile->q[row], args->q + t * args->q_stride + h * head_dim, head_dim * sizeof(float));
        args->m[row] = -INFINITY;
        args->l[row] = 0;
    }
    memset(args->acc, 0, (size_t)n * (size_t)args->head_dim_v * sizeof(float));
}

/* Finds the rows that see some of the keys. */
static void open_tile(const struct rz_attend_args *args, attend_tile *tile, struct key_range keys)
{
    tile->first_row = tile->end_row = 0;
    for (int t = 0; t < args->n_tokens; t++) {
        struct key_range seen = visible_keys(args, t, keys);
        if (seen.first >= seen.end) continue;
        if (tile->first_row == tile->end_row) tile->first_row = t * args->n_group;
        tile->end_row = (t + 1) * args->n_group;
        for (int row = t * args->n_group; row < tile->end_row; row++) {
            tile->first[row] = (int)(seen.first - keys.first);
            tile->end[row] = (int)(seen.end - keys.first);
        }
    }
}

/* Points the tile at the blocks that its rows see, and at the next tile's, which are fetched meanwhile. */
static void point_at_blocks(const struct rz_attend_args *args, attend_tile *tile, int64_t key0, size_t v_row)
{
    int first = tile->first[tile->first_row], end = tile->end[tile->end_row - 1];
    for (int block = first / RZ_KV_BLOCK; block * RZ_KV_BLOCK < end; block++) {
        int64_t key = key0 + block * RZ_KV_BLOCK, next = key + RZ_ATTEND_TILE;
        if (next >= args->n_keys) next = key;
        const char *v = v_block(args, key), *next_v = v_block(args, next);
        tile->k[block] = k_block(args, key);
        tile->next_k[block] = k_block(args, next);
        for (int slot = 0; slot < RZ_KV_BLOCK; slot++) {
            tile->v[block * RZ_KV_BLOCK + slot] = v + (size_t)slot * v_row;
            tile->next_v[block * RZ_KV_BLOCK + slot] = next_v + (size_t)slot * v_row;
        }
    }
}

/* All rows that are left, or an equal share of them that fits the registers. */
static int next_rows(int left)
{
    int shares = (left + RZ_OUTER_ROWS - 1) / RZ_OUTER_ROWS;
    return (left + shares - 1) / shares;
}

static void attend_x16(const struct rz_attend_args *args, scores_fn *scores, values_fn *values, int v_type)
{
    attend_tile *tile = args->scratch;
    size_t v_row = (size_t)args->head_dim_v * kv_bytes(v_type);
    open_split(args, tile);
    for (int64_t key = args->key0; key < args->key0 + RZ_ATTEND_SPLIT; key += RZ_ATTEND_TILE) {
        open_tile(args, tile, (struct key_range){key, key + RZ_ATTEND_TILE});
        if (tile->first_row < tile->end_row) point_at_blocks(args, tile, key, v_row);
        for (int row = tile->first_row, rows; row < tile->end_row; row += rows) {
            rows = next_rows(tile->end_row - row);
            score(args, tile, row, rows, scores);
            soften(args, tile, row, rows);
            gather(args, tile, row, rows, values);
        }
    }
}

#define RZ_ATTEND(k_type, v_type, V_TYPE)                                                                              \
    static void attend_##k_type##_##v_type##_x16(const struct rz_attend_args *args)                                    \
    {                                                                                                                  \
        attend_x16(args, scores_##k_type, values_##v_type, V_TYPE);                                                    \
    }
RZ_ATTEND(f32, f32, RZ_KV_F32)
RZ_ATTEND(f32, f16, RZ_KV_F16)
RZ_ATTEND(f16, f32, RZ_KV_F32)
RZ_ATTEND(f16, f16, RZ_KV_F16)
#undef RZ_ATTEND

/* ---- the merge --------------------------------------------------------------------------------------------------- */

/* A partial that saw no key says nothing (two of them would even make exp(-Inf - -Inf)), and what follows it is taken
 * as it is: a window may or may not begin with such splits, depending on the queries that share a tile. */
static void attend_merge_f32x16(float *m, float *l, float *acc, float mp, float lp, const float *accp, size_t head_dim)
{
    if (mp == -INFINITY && lp == 0) return;
    if (*m == -INFINITY && *l == 0) {
        *m = mp, *l = lp;
        memcpy(acc, accp, head_dim * sizeof(float));
        return;
    }
    float max = (*m > mp ? *m : mp) + 0.0f, a = exp_f32(*m - max), b = exp_f32(mp - max);
    f32x16 a_f32x16 = f32x16_set(a), b_f32x16 = f32x16_set(b);
    *m = max;
    *l = fmaf(*l, a, lp * b);
    for (size_t d = 0; d < head_dim; d += 16) {
        f32x16 later = f32x16_mul(f32x16_load_first(accp + d, head_dim - d), b_f32x16);
        f32x16 sum = f32x16_fma(f32x16_load_first(acc + d, head_dim - d), a_f32x16, later);
        f32x16_store_first(acc + d, sum, head_dim - d);
    }
}

#endif
