/* Attention to a q4 cache: the two products of a tile of 64 keys, in integers; defined in scalar/attention_q4.h.
 *
 * Sums of integers are the same in any order. So rows that see different keys are processed together, with a weight of
 * zero for the keys that a row does not see. */
#ifndef REALIZAR_WIDE_ATTENTION_Q4_H
#define REALIZAR_WIDE_ATTENTION_Q4_H

#include "realizar/scalar/round_int8.h"
#include "realizar/wide/attention_tile.h"
#include "realizar/wide/hadamard.h"

/* ---- q . k ------------------------------------------------------------------------------------------------------- */

/* The query of a row, whose place in the tile holds bytes instead of floats, padded with zeros to whole groups. */
static void open_query_q4(attend_tile *tile, int row, const float *q, size_t head_dim)
{
    float transformed[RZ_ATTEND_MAX_HEAD_DIM];
    int8_t *own = (int8_t *)tile->q[row];
    int32_t sum = 0;
    hadamard_f32x16(q, head_dim, 1 / (float)hadamard_width(head_dim), transformed);
    tile->q_scale[row] = round_int8(transformed, head_dim, own);
    memset(own + head_dim, 0, Q4_K_GROUP);
    for (size_t d = 0; d < head_dim; d++) sum += own[d];
    tile->q_sum[row] = sum;
}

/* As `scores` of attention_products.h. A lane has the eight elements of a key that belong to eight of a query. */
RZ_INLINE void multiply_q4(const struct rz_attend_args *args, attend_tile *tile, int row, int rows, int block, int cols)
{
    i32x16 sum[RZ_OUTER_ROWS][RZ_OUTER_COLS], nibbles = i32x16_set(0x0f0f0f0f);
    for (int r = 0; r < rows; r++)
        for (int c = 0; c < cols; c++) sum[r][c] = i32x16_set(-8 * tile->q_sum[row + r]);
    for (size_t d = 0; d < (size_t)args->head_dim_k; d += Q4_K_GROUP) {
        size_t offset = d * (RZ_KV_BLOCK / 2);
        i32x16 low[RZ_OUTER_COLS], high[RZ_OUTER_COLS];
        for (int c = 0; c < cols; c++) {
            i32x16 k = i32x16_load(tile->k[block + c] + offset);
            low[c] = i32x16_and(k, nibbles), high[c] = i32x16_and(i32x16_shift(k, 4), nibbles);
            fetch(tile->next_k[block + c], offset, RZ_KV_Q4);
        }
        for (int r = 0; r < rows; r++) {
            const char *q = (const char *)tile->q[row + r] + d;
            i32x16 q_low = i32x16_broadcast(q), q_high = i32x16_broadcast(q + 4);
            for (int c = 0; c < cols; c++) sum[r][c] = i32x16_add_bytes(sum[r][c], low[c], q_low, high[c], q_high);
        }
    }
    for (int r = 0; r < rows; r++)
        for (int c = 0; c < cols; c++) {
            f32x16 k_scale = f32x16_load(&tile->k_scale[16 * (block + c)]);
            f32x16 factor = f32x16_mul(f32x16_set(tile->q_scale[row + r]), k_scale);
            f32x16 s = f32x16_mul(i32x16_to_f32(sum[r][c]), factor);
            f32x16_store(&tile->s[r][16 * (block + c)], f32x16_mul(s, f32x16_set(args->scale)));
        }
}

static void scores_q4(const struct rz_attend_args *args, attend_tile *tile, int row, int rows, int block, int cols)
{
#define RZ_CASE(ROWS, COLS)                                                                                            \
    case ROWS:                                                                                                         \
        if (cols == COLS)                                                                                              \
            multiply_q4(args, tile, row, ROWS, block, COLS);                                                           \
        else                                                                                                           \
            multiply_q4(args, tile, row, ROWS, block, 1);                                                              \
        break;
    switch (rows) {
        RZ_OUTER_SHAPES(RZ_CASE)
    }
#undef RZ_CASE
}

/* ---- p . v ------------------------------------------------------------------------------------------------------- */

/* The weights of a set as words, their scales, and -8 times their sums: elements are stored with 8 added. */
struct words_of_set {
    int16_t w[RZ_OUTER_ROWS][RZ_ATTEND_TILE];
    float scale[RZ_OUTER_ROWS];
    int32_t start[RZ_OUTER_ROWS];
};

/* Rounds p * scale of the keys [first, end) of one row; the others get 0. */
static void round_row(const float *p, const float *v_scale, int first, int end, struct words_of_set *set, int r)
{
    f32x16 x[TILE_BLOCKS];
    i32x16 most = i32x16_zero(), sum = i32x16_zero();
    for (int i = 0; i < TILE_BLOCKS; i++) {
        f32x16 scaled = f32x16_mul(f32x16_load(p + 16 * i), f32x16_load(v_scale + 16 * i));
        x[i] = f32x16_within(scaled, first - 16 * i, end - 16 * i, f32x16_zero());
        most = i32x16_max(most, f32x16_size_bits(x[i]));
    }
    uint32_t amax_bits = (uint32_t)i32x16_largest(most);
    float amax = rz_bits_to_f32(amax_bits);
    if (amax_bits >= 0x7f800000 || amax < 0x1p-100f) {
        memset(set->w[r], 0, sizeof set->w[r]);
        set->scale[r] = amax_bits >= 0x7f800000 ? NAN : 0;
        set->start[r] = 0;
        return;
    }
    f32x16 factor = f32x16_set(32767 / amax);
    for (int i = 0; i < TILE_BLOCKS; i++) {
        i32x16 word = f32x16_round(f32x16_mul(x[i], factor));
        i32x16_store_words(&set->w[r][16 * i], word);
        sum = i32x16_add(sum, word);
    }
    set->scale[r] = amax / 32767;
    set->start[r] = -8 * i32x16_sum(sum);
}

/* acc[row + r][column + j] += p.v of the keys [4 * first, 4 * end), for 16 * cols columns, or for the last `live` ones.
 * The low nibbles of a vector belong to 16 columns, the high ones to the next 16: their sums are 16 times as large. */
RZ_INLINE void add_values_q4(const struct rz_attend_args *args, const attend_tile *tile, const struct words_of_set *set,
                             int row, int rows, int first, int end, size_t column, int cols, size_t live)
{
    size_t head_dim = (size_t)args->head_dim_v, vectors = (head_dim + Q4_V_GROUP - 1) / Q4_V_GROUP;
    size_t odd = cols % 2 ? column / 16 % 2 : 0;
    i32x16 sum[RZ_OUTER_ROWS][RZ_OUTER_COLS], nibbles[2];
    int bits[2] = {odd ? 4 : 0, odd ? 0 : 4};
    for (int i = 0; i < 2; i++) nibbles[i] = i32x16_set(bits[i] ? 0x00f000f0 : 0x000f000f);
    for (int r = 0; r < rows; r++)
        for (int c = 0; c < cols; c++) sum[r][c] = i32x16_set(set->start[r] * (1 << bits[c % 2]));
    for (int four = first; four < end; four++) {
        size_t offset = (size_t)(four % 4) * vectors * 64;
        const char *v = tile->v[four / 4] + offset, *next = tile->next_v[four / 4] + offset;
        for (size_t i = 0; i < vectors && column == 0; i++) fetch(next, 64 * i, RZ_KV_Q4);
        i32x16 two[RZ_OUTER_COLS], others[RZ_OUTER_COLS];
        for (int c = 0; c < cols; c++) {
            i32x16 x = i32x16_load(v + (column / 16 + (size_t)c) / 2 * 64);
            two[c] = i32x16_and(x, nibbles[c % 2]), others[c] = i32x16_and(i32x16_shift(x, 8), nibbles[c % 2]);
        }
        for (int r = 0; r < rows; r++) {
            const int16_t *w = &set->w[r][4 * four];
            i32x16 w_two = i32x16_broadcast(w), w_others = i32x16_broadcast(w + 2);
            for (int c = 0; c < cols; c++)
                sum[r][c] = i32x16_add_words(i32x16_add_words(sum[r][c], two[c], w_two), others[c], w_others);
        }
    }
    for (int r = 0; r < rows; r++)
        for (int c = 0; c < cols; c++) {
            float *acc = args->acc + (size_t)(row + r) * head_dim + column + 16 * c;
            size_t n = live ? live : 16;
            f32x16 x = i32x16_to_f32(i32x16_shift_signed(sum[r][c], bits[c % 2]));
            f32x16_store_first(acc, f32x16_fma(x, f32x16_set(set->scale[r]), f32x16_load_first(acc, n)), n);
        }
}

static void values_q4(const struct rz_attend_args *args, const attend_tile *tile, const struct words_of_set *set,
                      int row, int rows, int first, int end, size_t column, int cols, size_t live)
{
#define RZ_CASE(ROWS, COLS)                                                                                            \
    case ROWS:                                                                                                         \
        if (cols == COLS && !live)                                                                                     \
            add_values_q4(args, tile, set, row, ROWS, first, end, column, COLS, 0);                                    \
        else                                                                                                           \
            add_values_q4(args, tile, set, row, ROWS, first, end, column, 1, live);                                    \
        break;
    switch (rows) {
        RZ_OUTER_SHAPES(RZ_CASE)
    }
#undef RZ_CASE
}

/* The weights of a set are in tile->s. */
static void gather_q4(const struct rz_attend_args *args, const attend_tile *tile, int row, int rows)
{
    struct words_of_set set;
    size_t head_dim = (size_t)args->head_dim_v, column = 0, cols;
    int first = tile->first[row] / 4, end = (tile->end[row + rows - 1] + 3) / 4;
    for (int r = 0; r < rows; r++)
        round_row(tile->s[r], tile->v_scale, tile->first[row + r], tile->end[row + r], &set, r);
    for (; column + 16 <= head_dim; column += 16 * cols) {
        cols = (size_t)outer_cols(rows);
        cols = column + 16 * cols <= head_dim ? cols : 1;
        values_q4(args, tile, &set, row, rows, first, end, column, (int)cols, 0);
    }
    if (column < head_dim) values_q4(args, tile, &set, row, rows, first, end, column, 1, head_dim - column);
}

#endif
