/* The two products of attention, q.k and p.v, for a tile of 64 keys: queries in registers, keys or columns in lanes. */
#ifndef REALIZAR_WIDE_ATTENTION_PRODUCTS_H
#define REALIZAR_WIDE_ATTENTION_PRODUCTS_H

#include "realizar/wide/attention_q4.h"

/* s[r][16 * block + j] = scale * q.k for the set of rows and the keys j of cols blocks. */
typedef void scores_fn(const struct rz_attend_args *args, attend_tile *tile, int row, int rows, int block, int cols);

/* acc[row + r][column + j] += p.v over the keys [first, end), for 16 * cols columns, or for the last `live` ones; p are
 * the weights of row row + r. */
typedef void values_fn(const struct rz_attend_args *args, const attend_tile *tile, const float *p, int row, int rows,
                       int first, int end, size_t column, int cols, size_t live);

RZ_INLINE void scores(const struct rz_attend_args *args, attend_tile *tile, int row, int rows, int block, int cols,
                      int type)
{
    f32x16 sum[RZ_OUTER_ROWS][RZ_OUTER_COLS], k_scale[RZ_OUTER_COLS], scale = f32x16_set(args->scale);
    for (int c = 0; c < cols; c++) k_scale[c] = f32x16_load(&tile->k_scale[16 * (block + c)]);
    for (int r = 0; r < rows; r++)
        for (int c = 0; c < cols; c++) sum[r][c] = f32x16_zero();
    for (size_t d = 0; d < (size_t)args->head_dim_k; d++) {
        size_t offset = d * RZ_KV_BLOCK * kv_bytes(type);
        f32x16 k[RZ_OUTER_COLS];
        for (int c = 0; c < cols; c++) {
            k[c] = load_kv(tile->k[block + c] + offset, k_scale[c], type);
            fetch(tile->next_k[block + c], offset, type);
        }
        add_outer(rows, cols, sum, &tile->q[row][d], Q_ROW, k);
    }
    for (int r = 0; r < rows; r++)
        for (int c = 0; c < cols; c++) f32x16_store(&tile->s[r][16 * (block + c)], f32x16_mul(sum[r][c], scale));
}

/* The prefetch position in the next tile's V after some keys of a sweep that uses `chunk` bytes of each key. Each sweep
 * prefetches its share of the whole blocks line after line, because every second line of a row would arrive at half the
 * speed. */
RZ_INLINE const char *values_ahead(const attend_tile *tile, size_t sweep_start, int keys, size_t chunk,
                                   size_t block_bytes)
{
    size_t at = sweep_start + (size_t)keys * chunk;
    int block = 0;
    for (; at >= block_bytes && block < TILE_BLOCKS - 1; block++) at -= block_bytes;
    return tile->next_v[block] + at;
}

RZ_INLINE void values(const struct rz_attend_args *args, const attend_tile *tile, const float *p, int row, int rows,
                      int first, int end, size_t column, int cols, size_t live, int type)
{
    size_t head_dim = (size_t)args->head_dim_v, v_row = head_dim * kv_bytes(type), vector = 16 * kv_bytes(type);
    size_t chunk = (size_t)cols * vector;
    float *acc = args->acc + (size_t)row * head_dim + column;
    f32x16 sum[RZ_OUTER_ROWS][RZ_OUTER_COLS];
    for (int r = 0; r < rows; r++)
        for (int c = 0; c < cols; c++)
            sum[r][c] = f32x16_load_first(acc + (size_t)r * head_dim + 16 * c, live ? live : 16);
    for (int key = first; key < end;) {
        int block = key / RZ_KV_BLOCK, stop = (block + 1) * RZ_KV_BLOCK < end ? (block + 1) * RZ_KV_BLOCK : end;
        const char *at = tile->v[block] + (size_t)(key % RZ_KV_BLOCK) * v_row + column * kv_bytes(type), *ahead = at;
        if (type != UNPACKED)
            ahead = values_ahead(tile, RZ_ATTEND_TILE * column * kv_bytes(type), key, chunk, RZ_KV_BLOCK * v_row);
        for (; key < stop; key++, at += v_row, ahead += chunk) {
            f32x16 v[RZ_OUTER_COLS], v_scale = f32x16_set(tile->v_scale[key]);
            for (int c = 0; c < cols; c++) {
                const char *from = at + (size_t)c * vector;
                v[c] = live ? load_first_kv(from, live, v_scale, type) : load_kv(from, v_scale, type);
            }
            for (size_t line = 0; line < chunk; line += 64) fetch(ahead + line, 0, type);
            add_outer(rows, cols, sum, p + key, RZ_ATTEND_TILE, v);
        }
    }
    for (int r = 0; r < rows; r++)
        for (int c = 0; c < cols; c++)
            f32x16_store_first(acc + (size_t)r * head_dim + 16 * c, sum[r][c], live ? live : 16);
}

/* The same with a variable number of rows; cols is the number of columns for it, or 1. */
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

RZ_INLINE void values_of(const struct rz_attend_args *args, const attend_tile *tile, const float *p, int row, int rows,
                         int first, int end, size_t column, int cols, size_t live, int type)
{
#define RZ_CASE(ROWS, COLS)                                                                                            \
    case ROWS:                                                                                                         \
        if (live)                                                                                                      \
            values(args, tile, p, row, ROWS, first, end, column, 1, live, type);                                       \
        else if (cols == COLS)                                                                                         \
            values(args, tile, p, row, ROWS, first, end, column, COLS, 0, type);                                       \
        else                                                                                                           \
            values(args, tile, p, row, ROWS, first, end, column, 1, 0, type);                                          \
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
    static void values_##lower(const struct rz_attend_args *args, const attend_tile *tile, const float *p, int row,    \
                               int rows, int first, int end, size_t column, int cols, size_t live)                     \
    {                                                                                                                  \
        values_of(args, tile, p, row, rows, first, end, column, cols, live, type);                                     \
    }
RZ_PRODUCTS(f32, RZ_KV_F32)
RZ_PRODUCTS(f16, RZ_KV_F16)
RZ_PRODUCTS(int8, RZ_KV_INT8)
RZ_PRODUCTS(unpacked, UNPACKED)
#undef RZ_PRODUCTS

static scores_fn *const SCORES[] = {scores_f32, scores_f16, scores_int8, scores_q4, scores_unpacked};
/* V of q4 is gathered by gather_q4. */
static values_fn *const VALUES[] = {values_f32, values_f16, values_int8, NULL, values_unpacked};

#endif
