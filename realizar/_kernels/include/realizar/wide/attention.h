/* Attention of one split: tiles of 64 keys against all queries; defined in scalar/attention.h.
 *
 *     for each tile of keys
 *         for each set of queries
 *             score    s[query][key]  = scale * q.k    queries x keys in registers, over head_dim
 *             soften   p[query][key]  = exp(s - max)   running max and sum; the acc so far is scaled down
 *             gather   acc[query][d] += p.v            queries x head_dim in registers, over keys
 *
 * A set has as many queries as fill the registers with their sums; each load of K or V serves the whole set. If there
 * are several sets, the tile is unpacked to floats once for all of them. If the queries of a set do not see the same
 * keys, the keys that all of them see are processed together, and the others query by query. */
#ifndef REALIZAR_WIDE_ATTENTION_H
#define REALIZAR_WIDE_ATTENTION_H

#include "realizar/wide/attention_products.h"
#include "realizar/wide/elementwise.h"
#include "realizar/wide/hadamard.h"

/* ---- score ------------------------------------------------------------------------------------------------------- */

/* Whole blocks of keys, several at once if there are enough. */
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

/* In place, for the keys [first, end) of a row; bias is that of the tile's first key. */
static void add_bias(float *s, const float *bias, int first, int end)
{
    for (int key = first & -16; key < end; key += 16)
        f32x16_store(s + key, f32x16_add(f32x16_load(s + key), f32x16_load(bias + key)));
}

/* The largest score of the keys [first, end). */
RZ_INLINE float largest_score(const float *s, int first, int end)
{
    f32x16 least = f32x16_set(-INFINITY), max = least;
    for (int key = first & -16; key < end; key += 16)
        max = f32x16_max(f32x16_within(f32x16_load(s + key), first - key, end - key, least), max);
    return f32x16_largest(max);
}

/* Turns the scores of the keys [first, end) into weights and sums them by lanes; other keys of their blocks get 0. */
RZ_INLINE f32x16 weigh(float *s, float max, int first, int end)
{
    f32x16 max_f32x16 = f32x16_set(max), sum = f32x16_zero();
    for (int key = first & -16; key < end; key += 16) {
        f32x16 p = f32x16_sub(f32x16_load(s + key), max_f32x16);
        exp_in_step(&p, 1);
        p = f32x16_within(p, first - key, end - key, f32x16_zero());
        f32x16_store(s + key, p);
        sum = f32x16_add(sum, p);
    }
    return sum;
}

/* The same for all keys. */
RZ_INLINE f32x16 weigh_all(float *s, float max)
{
    f32x16 p[TILE_BLOCKS], sum = f32x16_zero();
    for (int i = 0; i < TILE_BLOCKS; i++) p[i] = f32x16_sub(f32x16_load(s + 16 * i), f32x16_set(max));
    exp_in_step(p, TILE_BLOCKS);
    for (int i = 0; i < TILE_BLOCKS; i++) {
        f32x16_store(s + 16 * i, p[i]);
        sum = f32x16_add(sum, p[i]);
    }
    return sum;
}

/* Sets that see the whole tile, by far the most frequent case, have loops of constant length. */
static inline bool see_all(const attend_tile *tile, int row, int rows)
{
    return tile->first[row + rows - 1] == 0 && tile->end[row] == RZ_ATTEND_TILE;
}

static void largest_scores(const attend_tile *tile, int row, int rows, float *max)
{
    bool all = see_all(tile, row, rows);
    for (int r = 0; r < rows && all; r++) max[r] = largest_score(tile->s[r], 0, RZ_ATTEND_TILE);
    for (int r = 0; r < rows && !all; r++) max[r] = largest_score(tile->s[r], tile->first[row + r], tile->end[row + r]);
}

/* Sums across lanes come last: each is a separate dependency chain. */
static void weigh_rows(attend_tile *tile, int row, int rows, const float *max, float *sum)
{
    float lanes[RZ_OUTER_ROWS][16];
    bool all = see_all(tile, row, rows);
    for (int r = 0; r < rows && all; r++) f32x16_store(lanes[r], weigh_all(tile->s[r], max[r]));
    for (int r = 0; r < rows && !all; r++)
        f32x16_store(lanes[r], weigh(tile->s[r], max[r], tile->first[row + r], tile->end[row + r]));
    for (int r = 0; r < rows; r++) sum[r] = f32x16_sum(f32x16_load(lanes[r]));
}

/* Rescales the accumulators of the rows to their new maxima, most of which have not changed. */
static void rescale(const struct rz_attend_args *args, int row, int rows, const float *correction)
{
    bool same = true;
    for (int r = 0; r < rows; r++) same &= correction[r] == 1;
    if (same) return;
    size_t head_dim = (size_t)args->head_dim_v;
    for (int r = 0; r < rows; r++) {
        float *acc = args->acc + (size_t)(row + r) * head_dim;
        scale_f32x16(acc, correction[r], head_dim, acc);
    }
}

/* Weights, running maxima and sums of a set. */
static void soften(const struct rz_attend_args *args, attend_tile *tile, int row, int rows)
{
    float max[16], sum[16], correction[16];
    size_t n = (size_t)rows;
    for (int r = 0; r < rows && args->softcap != 0; r++)
        cap_scores(tile->s[r], args->softcap, tile->first[row + r], tile->end[row + r]);
    for (int r = 0; r < rows && args->bias; r++)
        add_bias(tile->s[r], query_bias(args, row + r) + tile->key0, tile->first[row + r], tile->end[row + r]);
    largest_scores(tile, row, rows, max);
    f32x16 old = f32x16_load_first(args->m + row, n);
    f32x16 new = f32x16_max(f32x16_load_first(max, n), old);
    f32x16 factor = exp_f32x16(f32x16_sub(old, new));
    f32x16_store_first(args->m + row, new, n);
    f32x16_store(max, new);
    f32x16_store(correction, factor);
    weigh_rows(tile, row, rows, max, sum);
    f32x16 l = f32x16_fma(f32x16_load_first(args->l + row, n), factor, f32x16_load_first(sum, n));
    f32x16_store_first(args->l + row, l, n);
    rescale(args, row, rows, correction);
}
_Static_assert(RZ_OUTER_ROWS <= 16, "soften");

/* ---- gather ------------------------------------------------------------------------------------------------------ */

/* The keys [first, end), which all rows see; p are the weights of row `row`. */
static void gather_common(const struct rz_attend_args *args, const attend_tile *tile, const float *p, int row, int rows,
                          int first, int end, values_fn *values)
{
    size_t head_dim = (size_t)args->head_dim_v, column = 0, cols;
    for (; column + 16 <= head_dim; column += 16 * cols) {
        cols = (size_t)outer_cols(rows);
        cols = column + 16 * cols <= head_dim ? cols : 1;
        values(args, tile, p, row, rows, first, end, column, (int)cols, 0);
    }
    if (column < head_dim) values(args, tile, p, row, rows, first, end, column, 1, head_dim - column);
}

/* For each row in ascending order: the keys before the common ones, the common keys, the keys after them. */
static void gather(const struct rz_attend_args *args, const attend_tile *tile, int row, int rows, values_fn *values)
{
    int last = row + rows - 1, first = tile->first[last], end = tile->end[row];
    if (first >= end) first = end = tile->end[last];
    for (int r = row; r <= last; r++) {
        int own_end = tile->end[r] < first ? tile->end[r] : first;
        if (tile->first[r] < own_end)
            gather_common(args, tile, tile->s[r - row], r, 1, tile->first[r], own_end, values);
    }
    if (first < end) gather_common(args, tile, tile->s[0], row, rows, first, end, values);
    for (int r = row; r <= last; r++)
        if (end < tile->end[r]) gather_common(args, tile, tile->s[r - row], r, 1, end, tile->end[r], values);
}

/* ---- the split --------------------------------------------------------------------------------------------------- */

/* Copies the queries into the tile in the form of the cached keys (some caches hold H k) and clears the accumulators. */
static void open_split(const struct rz_attend_args *args, attend_tile *tile)
{
    int n = args->n_tokens * args->n_group;
    size_t head_dim = (size_t)args->head_dim_k;
    float factor = 1 / (float)hadamard_width(head_dim);
    for (int row = 0; row < n; row++) {
        size_t t = (size_t)(row / args->n_group), h = (size_t)(row % args->n_group);
        const float *q = args->q + t * args->q_stride + h * head_dim;
        if (args->k_type == RZ_KV_Q4)
            open_query_q4(tile, row, q, head_dim);
        else if (rz_kv_types[args->k_type].transforms_k)
            hadamard_f32x16(q, head_dim, factor, tile->q[row]);
        else
            memcpy(tile->q[row], q, head_dim * sizeof *q);
        args->m[row] = -INFINITY;
        args->l[row] = 0;
    }
    memset(args->acc, 0, (size_t)n * (size_t)args->head_dim_v * sizeof(float));
}

/* All remaining rows, or an equal share of them that fits the registers. */
static int next_rows(int left)
{
    int shares = (left + RZ_OUTER_ROWS - 1) / RZ_OUTER_ROWS;
    return (left + shares - 1) / shares;
}

/* Prefetches some lines of the next tile, so that memory is busy while the weights are computed. More lines or none
 * would be 3 % slower. */
static void fetch_during_softmax(const attend_tile *tile)
{
    enum { LINES = 16 };
    for (int line = 0; line < LINES; line++) fetch(tile->next_v[0] + 64 * line, 0, RZ_KV_F16);
}

/* The tile's keys for all its rows, set by set. */
static void attend_sets(const struct rz_attend_args *args, attend_tile *tile, int k_type, int v_type)
{
    for (int row = tile->first_row, rows; row < tile->end_row; row += rows) {
        rows = next_rows(tile->end_row - row);
        score(args, tile, row, rows, SCORES[k_type]);
        if (v_type != UNPACKED) fetch_during_softmax(tile);
        soften(args, tile, row, rows);
        if (v_type == RZ_KV_Q4)
            gather_q4(args, tile, row, rows);
        else
            gather(args, tile, row, rows, VALUES[v_type]);
    }
}

static void attend_f32x16(const struct rz_attend_args *args)
{
    attend_tile *tile = args->scratch;
    open_split(args, tile);
    for (int64_t key = args->key0; key < args->key0 + RZ_ATTEND_SPLIT; key += RZ_ATTEND_TILE) {
        open_tile(args, tile, (struct key_range){key, key + RZ_ATTEND_TILE});
        if (tile->first_row == tile->end_row) continue;
        point_at_blocks(args, tile, key);
        bool many = has_many_rows(args, tile);
        int k_type = many ? unpack_k(args, tile) : args->k_type, v_type = args->v_type;
        if (args->latent)
            v_type = transpose_latent(args, tile, k_type);
        else if (many)
            v_type = unpack_v(args, tile);
        attend_sets(args, tile, k_type, v_type);
    }
}

/* ---- the merge --------------------------------------------------------------------------------------------------- */

/* A partial result without a visible key is skipped (two of them would even compute exp(-Inf - -Inf)), and the first
 * one with a key is copied exactly: whether a window begins with splits without keys depends on the queries that share
 * a tile. */
static void attend_merge_f32x16(float *m, float *l, float *acc, float mp, float lp, const float *accp, size_t head_dim)
{
    if (mp == -INFINITY && lp == 0) return;
    if (*m == -INFINITY && *l == 0) {
        *m = mp, *l = lp;
        memcpy(acc, accp, head_dim * sizeof(float));
        return;
    }
    float max = *m > mp ? *m : mp, a = exp_f32(*m - max), b = exp_f32(mp - max);
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
