/* The two products of attention, q.k and p.v, for a tile of 64 keys: queries in registers, keys or columns in lanes. */
#ifndef REALIZAR_WIDE_ATTENTION_PRODUCTS_H
#define REALIZAR_WIDE_ATTENTION_PRODUCTS_H

#include "realizar/wide/outer.h"

/* Q_ROW: an odd number of cache lines, so that rows do not alias in L1. */
enum { TILE_BLOCKS = RZ_ATTEND_TILE / RZ_KV_BLOCK, Q_ROW = RZ_ATTEND_MAX_HEAD_DIM + 16 };

/* So few queries wait for memory; more of them compute longer than it takes. */
enum { FETCHING_ROWS = 8 };

/* Rows are queries. Those that see a key of the tile are [first_row, end_row); row r sees its keys [first[r], end[r]),
 * both ascending with r. */
typedef struct {
    float q[RZ_ATTEND_MAX_QUERIES][Q_ROW];
    float s[RZ_ATTEND_MAX_QUERIES][RZ_ATTEND_TILE]; /* scores, then weights */
    int first[RZ_ATTEND_MAX_QUERIES], end[RZ_ATTEND_MAX_QUERIES];
    int first_row, end_row;
    const char *k[TILE_BLOCKS], *v[RZ_ATTEND_TILE];           /* K of each block, V of each key */
    const char *next_k[TILE_BLOCKS], *next_v[RZ_ATTEND_TILE]; /* those of the next tile, to be fetched meanwhile */
} attend_tile;
_Static_assert(sizeof(attend_tile) <= RZ_ATTEND_SCRATCH, "scratch");

/* s[row + r][16 * block + j] = scale * q.k for r < rows and the keys j of cols blocks. */
typedef void scores_fn(const struct rz_attend_args *args, attend_tile *tile, int row, int rows, int block, int cols);

/* acc[row + r][column + j] += p.v over the keys [first, end), for 16 * cols columns, or for the last `live` ones. */
typedef void values_fn(const struct rz_attend_args *args, const attend_tile *tile, int row, int rows, int first,
                       int end, size_t column, int cols, size_t live);

RZ_INLINE void scores(const struct rz_attend_args *args, attend_tile *tile, int row, int rows, int block, int cols,
                      int type)
{
    f32x16 sum[RZ_OUTER_ROWS][RZ_OUTER_COLS], scale = f32x16_set(args->scale);
    for (int r = 0; r < rows; r++)
        for (int c = 0; c < cols; c++) sum[r][c] = f32x16_zero();
    for (size_t d = 0; d < (size_t)args->head_dim_k; d++) {
        const char *k[RZ_OUTER_COLS];
        for (int c = 0; c < cols; c++) {
            k[c] = tile->k[block + c] + d * RZ_KV_BLOCK * kv_bytes(type);
            if (rows <= FETCHING_ROWS) prefetch(tile->next_k[block + c] + d * RZ_KV_BLOCK * kv_bytes(type));
        }
        add_outer(rows, cols, sum, &tile->q[row][d], Q_ROW, k, 0, type);
    }
    for (int r = 0; r < rows; r++)
        for (int c = 0; c < cols; c++) f32x16_store(&tile->s[row + r][16 * (block + c)], f32x16_mul(sum[r][c], scale));
}

RZ_INLINE void values(const struct rz_attend_args *args, const attend_tile *tile, int row, int rows, int first, int end,
                      size_t column, int cols, size_t live, int type)
{
    size_t head_dim = (size_t)args->head_dim_v;
    float *acc = args->acc + (size_t)row * head_dim + column;
    f32x16 sum[RZ_OUTER_ROWS][RZ_OUTER_COLS];
    for (int r = 0; r < rows; r++)
        for (int c = 0; c < cols; c++)
            sum[r][c] = f32x16_load_first(acc + (size_t)r * head_dim + 16 * c, live ? live : 16);
    for (int key = first; key < end; key++) {
        const char *v[RZ_OUTER_COLS];
        for (int c = 0; c < cols; c++) {
            v[c] = tile->v[key] + (column + 16 * (size_t)c) * kv_bytes(type);
            if (rows <= FETCHING_ROWS) prefetch(tile->next_v[key] + (column + 16 * (size_t)c) * kv_bytes(type));
        }
        add_outer(rows, cols, sum, &tile->s[row][key], RZ_ATTEND_TILE, v, live, type);
    }
    for (int r = 0; r < rows; r++)
        for (int c = 0; c < cols; c++)
            f32x16_store_first(acc + (size_t)r * head_dim + 16 * c, sum[r][c], live ? live : 16);
}

/* The same with the number of rows as a variable; cols is the one that goes with it, or 1. */
RZ_INLINE void scores_of(const struct rz_attend_args *args, attend_tile *tile, int row, int rows, int block, int cols,
                         int type)
{
#define RZ_CASE(ROWS, COLS)                                                                                            \
    case ROWS:                                                                                                         \
        if (cols == COLS)                                                                                              \
            scores(args, tile, row, ROWS, block, COLS, type);                                                          \
        else                                                                                                           \
            scores(args, tile, row, ROWS, block, 1, type);                                                             \
        break;
    switch (rows) {
        RZ_OUTER_SHAPES(RZ_CASE)
    }
#undef RZ_CASE
}

RZ_INLINE void values_of(const struct rz_attend_args *args, const attend_tile *tile, int row, int rows, int first,
                         int end, size_t column, int cols, size_t live, int type)
{
#define RZ_CASE(ROWS, COLS)                                                                                            \
    case ROWS:                                                                                                         \
        if (live)                                                                                                      \
            values(args, tile, row, ROWS, first, end, column, 1, live, type);                                          \
        else if (cols == COLS)                                                                                         \
            values(args, tile, row, ROWS, first, end, column, COLS, 0, type);                                          \
        else                                                                                                           \
            values(args, tile, row, ROWS, first, end, column, 1, 0, type);                                             \
        break;
    switch (rows) {
        RZ_OUTER_SHAPES(RZ_CASE)
    }
#undef RZ_CASE
}

#define RZ_PRODUCTS(lower, type)                                                                                       \
    static void scores_##lower(const struct rz_attend_args *args, attend_tile *tile, int row, int rows, int block,     \
                               int cols)                                                                               \
    {                                                                                                                  \
        scores_of(args, tile, row, rows, block, cols, type);                                                           \
    }                                                                                                                  \
    static void values_##lower(const struct rz_attend_args *args, const attend_tile *tile, int row, int rows,          \
                               int first, int end, size_t column, int cols, size_t live)                               \
    {                                                                                                                  \
        values_of(args, tile, row, rows, first, end, column, cols, live, type);                                        \
    }
RZ_PRODUCTS(f32, RZ_KV_F32)
RZ_PRODUCTS(f16, RZ_KV_F16)
#undef RZ_PRODUCTS

#endif
