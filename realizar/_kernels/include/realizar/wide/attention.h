/* Attention of one split: tiles of 64 keys against all queries; meaning in scalar/attention.h.
 *
 *     for each tile     scores    s[query][key]   queries x keys in registers, over head_dim    (add_outer)
 *                       softmax   p[query][key]   running max and sum; the old acc is scaled down
 *                       values    acc[query][d]   queries x head_dim in registers, over keys    (add_outer)
 *
 * Queries are taken six at a time (fewer where the tier has fewer registers), so that a loaded K or V serves six
 * products. At the borders of what a query sees, the keys that all six see go together, the others one by one. */
#ifndef REALIZAR_WIDE_ATTENTION_H
#define REALIZAR_WIDE_ATTENTION_H

#include <stdbool.h>

#include "realizar/scalar/kv.h"
#include "realizar/scalar/visible.h"
#include "realizar/wide/elementwise.h"
#include "realizar/wide/outer.h"

enum { TILE_BLOCKS = RZ_ATTEND_TILE / RZ_KV_BLOCK };

/* The queries that see a key of the tile are rows [first_row, end_row); row r sees keys [first[r], end[r]) of it,
 * both ascending with r. s: scores, then weights. */
typedef struct {
    float s[RZ_ATTEND_MAX_QUERIES][RZ_ATTEND_TILE];
    float max[RZ_ATTEND_MAX_QUERIES], correction[RZ_ATTEND_MAX_QUERIES];
    int first[RZ_ATTEND_MAX_QUERIES], end[RZ_ATTEND_MAX_QUERIES];
    const float *q[RZ_ATTEND_MAX_QUERIES];
    const char *k[TILE_BLOCKS], *v[TILE_BLOCKS];
    int first_row, end_row;
} attend_tile;
_Static_assert(sizeof(attend_tile) <= RZ_ATTEND_SCRATCH, "scratch");

/* s[row + r][16 * block + j] for r < rows and the keys j of cols blocks. */
typedef void scores_fn(attend_tile *tile, int row, int rows, int block, int cols, size_t head_dim);
/* acc[row + r][column + j] += p.v over the keys [first, end), for 16 * cols columns, or for the last `live` ones. */
typedef void values_fn(const attend_tile *tile, int row, int rows, int first, int end, float *acc, size_t column,
                       int cols, size_t live, size_t head_dim);

/* ---- the products ------------------------------------------------------------------------------------------------ */

RZ_INLINE void scores(attend_tile *tile, int row, int rows, int block, int cols, size_t head_dim, int type)
{
    f32x16 sum[RZ_OUTER_ROWS][RZ_OUTER_COLS];
    for (int r = 0; r < rows; r++)
        for (int c = 0; c < cols; c++) sum[r][c] = f32x16_zero();
    size_t step = RZ_KV_BLOCK * (type == RZ_KV_F16 ? 2 : 4);
    add_outer(rows, cols, sum, tile->q + row, tile->k + block, step, head_dim, 0, type);
    for (int r = 0; r < rows; r++)
        for (int c = 0; c < cols; c++) f32x16_store(&tile->s[row + r][16 * (block + c)], sum[r][c]);
}

RZ_INLINE void values(const attend_tile *tile, int row, int rows, int first, int end, float *acc, size_t column,
                      int cols, size_t live, size_t head_dim, int type)
{
    size_t element = type == RZ_KV_F16 ? 2 : 4, step = head_dim * element;
    f32x16 sum[RZ_OUTER_ROWS][RZ_OUTER_COLS];
    acc += (size_t)row * head_dim + column;
    for (int r = 0; r < rows; r++)
        for (int c = 0; c < cols; c++)
            sum[r][c] = f32x16_load_first(acc + (size_t)r * head_dim + 16 * c, live ? live : 16);
    for (int key = first; key < end;) {
        int block = key / RZ_KV_BLOCK, next = (block + 1) * RZ_KV_BLOCK;
        const char *v[RZ_OUTER_COLS];
        const float *p[RZ_OUTER_ROWS];
        for (int c = 0; c < cols; c++)
            v[c] = tile->v[block] + (size_t)(key % RZ_KV_BLOCK) * step + (column + 16 * (size_t)c) * element;
        for (int r = 0; r < rows; r++) p[r] = &tile->s[row + r][key];
        next = next < end ? next : end;
        add_outer(rows, cols, sum, p, v, step, (size_t)(next - key), live, type);
        key = next;
    }
    for (int r = 0; r < rows; r++)
        for (int c = 0; c < cols; c++)
            f32x16_store_first(acc + (size_t)r * head_dim + 16 * c, sum[r][c], live ? live : 16);
}

#define SCORES_WIDE(rows) scores(tile, row, rows, block, RZ_OUTER_COLS, head_dim, type)
#define SCORES_ONE(rows) scores(tile, row, rows, block, 1, head_dim, type)
RZ_INLINE void scores_as(attend_tile *tile, int row, int rows, int block, int cols, size_t head_dim, int type)
{
    if (cols == RZ_OUTER_COLS)
        RZ_SWITCH_ROWS(rows, SCORES_WIDE)
    else
        RZ_SWITCH_ROWS(rows, SCORES_ONE)
}

#define VALUES_WIDE(rows) values(tile, row, rows, first, end, acc, column, RZ_OUTER_COLS, 0, head_dim, type)
#define VALUES_ONE(rows) values(tile, row, rows, first, end, acc, column, 1, 0, head_dim, type)
#define VALUES_LAST(rows) values(tile, row, rows, first, end, acc, column, 1, live, head_dim, type)
RZ_INLINE void values_as(const attend_tile *tile, int row, int rows, int first, int end, float *acc, size_t column,
                         int cols, size_t live, size_t head_dim, int type)
{
    if (live)
        RZ_SWITCH_ROWS(rows, VALUES_LAST)
    else if (cols == RZ_OUTER_COLS)
        RZ_SWITCH_ROWS(rows, VALUES_WIDE)
    else
        RZ_SWITCH_ROWS(rows, VALUES_ONE)
}

#define RZ_PRODUCTS(lower, type)                                                                                       \
    static void scores_##lower(attend_tile *tile, int row, int rows, int block, int cols, size_t head_dim)             \
    {                                                                                                                  \
        scores_as(tile, row, rows, block, cols, head_dim, type);                                                       \
    }                                                                                                                  \
    static void values_##lower(const attend_tile *tile, int row, int rows, int first, int end, float *acc,             \
                               size_t column, int cols, size_t live, size_t head_dim)                                  \
    {                                                                                                                  \
        values_as(tile, row, rows, first, end, acc, column, cols, live, head_dim, type);                               \
    }
RZ_PRODUCTS(f32, RZ_KV_F32)
RZ_PRODUCTS(f16, RZ_KV_F16)

/* ---- the steps of a tile ----------------------------------------------------------------------------------------- */

/* Finds the rows that see keys [first, end) and points the tile at its blocks. False when there are none. */
static bool open_tile(const struct rz_attend_args *args, attend_tile *tile, struct key_range keys)
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
    if (tile->first_row == tile->end_row) return false;
    int end = tile->end[tile->end_row - 1];
    for (int block = tile->first[tile->first_row] / RZ_KV_BLOCK; block * RZ_KV_BLOCK < end; block++) {
        tile->k[block] = k_block(args, keys.first + block * RZ_KV_BLOCK);
        tile->v[block] = v_block(args, keys.first + block * RZ_KV_BLOCK);
    }
    return true;
}

/* The scores of rows that see keys [first, end): whole blocks of keys, RZ_OUTER_COLS at once where there are so many. */
static void score_rows(attend_tile *tile, int row, int rows, size_t head_dim, scores_fn *scores)
{
    int block = tile->first[row] / RZ_KV_BLOCK;
    int end = (tile->end[row + rows - 1] + RZ_KV_BLOCK - 1) / RZ_KV_BLOCK;
    while (block < end) {
        int cols = end - block >= RZ_OUTER_COLS ? RZ_OUTER_COLS : 1;
        scores(tile, row, rows, block, cols, head_dim);
        block += cols;
    }
}

/* Scales (and caps) the scores of a row in place and returns the largest that it sees. */
static float scale_row(const struct rz_attend_args *args, attend_tile *tile, int row)
{
    f32x16 scale = f32x16_set(args->scale), cap = f32x16_set(args->softcap), least = f32x16_set(-INFINITY), max = least;
    int first = tile->first[row], end = tile->end[row];
    for (int key = first & -16; key < end; key += 16) {
        f32x16 s = f32x16_mul(f32x16_load(&tile->s[row][key]), scale);
        if (args->softcap != 0) s = f32x16_mul(cap, tanh_f32x16(f32x16_div(s, cap)));
        f32x16_store(&tile->s[row][key], s);
        max = f32x16_max(f32x16_within(s, first - key, end - key, least), max);
    }
    return f32x16_largest(max);
}

/* Turns the scores of a row into weights and returns their sum. */
static float weigh_row(attend_tile *tile, int row)
{
    f32x16 max = f32x16_set(tile->max[row]), sum = f32x16_zero();
    int first = tile->first[row], end = tile->end[row];
    for (int key = first & -16; key < end; key += 16) {
        f32x16 p = exp_f32x16(f32x16_sub(f32x16_load(&tile->s[row][key]), max));
        p = f32x16_within(p, first - key, end - key, f32x16_zero());
        f32x16_store(&tile->s[row][key], p);
        sum = f32x16_add(sum, p);
    }
    return f32x16_sum(sum);
}

/* The running maximum and sum of all rows; what they have gathered so far is scaled to the new maximum. */
static void softmax_rows(const struct rz_attend_args *args, attend_tile *tile)
{
    for (int row = tile->first_row; row < tile->end_row; row++) tile->max[row] = scale_row(args, tile, row);
    for (int row = tile->first_row; row < tile->end_row; row += 16) {
        size_t n = (size_t)(tile->end_row - row);
        f32x16 old = f32x16_load_first(args->m + row, n);
        f32x16 max = f32x16_add(f32x16_max(f32x16_load_first(tile->max + row, n), old), f32x16_zero());
        f32x16_store_first(tile->max + row, max, n);
        f32x16_store_first(tile->correction + row, exp_f32x16(f32x16_sub(old, max)), n);
        f32x16_store_first(args->m + row, max, n);
    }
    size_t head_dim = (size_t)args->head_dim_v;
    for (int row = tile->first_row; row < tile->end_row; row++) {
        float correction = tile->correction[row], *acc = args->acc + (size_t)row * head_dim;
        args->l[row] = fmaf(args->l[row], correction, weigh_row(tile, row));
        if (correction != 1) scale_f32x16(acc, correction, head_dim, acc);
    }
}

/* acc += p.v of some rows over keys [first, end) that all of them see. */
static void add_values(const struct rz_attend_args *args, const attend_tile *tile, int row, int rows, int first,
                       int end, values_fn *values)
{
    size_t head_dim = (size_t)args->head_dim_v, column = 0;
    if (first >= end) return;
    while (column + 16 <= head_dim) {
        int cols = column + 16 * RZ_OUTER_COLS <= head_dim ? RZ_OUTER_COLS : 1;
        values(tile, row, rows, first, end, args->acc, column, cols, 0, head_dim);
        column += 16 * (size_t)cols;
    }
    if (column < head_dim) values(tile, row, rows, first, end, args->acc, column, 1, head_dim - column, head_dim);
}

/* Keys ascend for each row: first those that only it sees, then the common ones, then those that only it sees. */
static void value_rows(const struct rz_attend_args *args, const attend_tile *tile, int row, int rows, values_fn *values)
{
    int first = tile->first[row + rows - 1], end = tile->end[row];
    if (first >= end) first = end = tile->end[row + rows - 1];
    for (int r = row; r < row + rows; r++) {
        int own_end = tile->end[r] < first ? tile->end[r] : first;
        add_values(args, tile, r, 1, tile->first[r], own_end, values);
    }
    add_values(args, tile, row, rows, first, end, values);
    for (int r = row; r < row + rows; r++) add_values(args, tile, r, 1, end, tile->end[r], values);
}

/* The number of rows to take next: all, or equal shares of at most RZ_OUTER_ROWS. */
static int share_of_rows(int left)
{
    int shares = (left + RZ_OUTER_ROWS - 1) / RZ_OUTER_ROWS;
    return (left + shares - 1) / shares;
}

static void attend_x16(const struct rz_attend_args *args, scores_fn *scores, values_fn *values)
{
    attend_tile *tile = args->scratch;
    int n = args->n_tokens * args->n_group;
    for (int i = 0; i < n; i++) {
        tile->q[i] = args->q + (size_t)(i / args->n_group) * args->q_stride +
                     (size_t)(i % args->n_group) * (size_t)args->head_dim_k;
        args->m[i] = -INFINITY;
        args->l[i] = 0;
    }
    memset(args->acc, 0, (size_t)n * (size_t)args->head_dim_v * sizeof(float));
    for (int64_t key = args->key0; key < args->key0 + RZ_ATTEND_SPLIT; key += RZ_ATTEND_TILE) {
        if (!open_tile(args, tile, (struct key_range){key, key + RZ_ATTEND_TILE})) continue;
        int rows;
        for (int row = tile->first_row; row < tile->end_row; row += rows) {
            rows = share_of_rows(tile->end_row - row);
            score_rows(tile, row, rows, (size_t)args->head_dim_k, scores);
        }
        softmax_rows(args, tile);
        for (int row = tile->first_row; row < tile->end_row; row += rows) {
            rows = share_of_rows(tile->end_row - row);
            value_rows(args, tile, row, rows, values);
        }
    }
}

static void attend_f32_f32_x16(const struct rz_attend_args *args) { attend_x16(args, scores_f32, values_f32); }
static void attend_f32_f16_x16(const struct rz_attend_args *args) { attend_x16(args, scores_f32, values_f16); }
static void attend_f16_f32_x16(const struct rz_attend_args *args) { attend_x16(args, scores_f16, values_f32); }
static void attend_f16_f16_x16(const struct rz_attend_args *args) { attend_x16(args, scores_f16, values_f16); }

/* A partial that saw no key says nothing; two of them would even make exp(-Inf - -Inf). */
static void attend_merge_f32x16(float *m, float *l, float *acc, float mp, float lp, const float *accp, size_t head_dim)
{
    if (mp == -INFINITY && lp == 0) return;
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
