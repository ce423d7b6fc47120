/* GEMM of the 32-element formats on tiles: sixteen weight rows against sixteen tokens, one block at a time. The vector
 * unit scales the sums into sixteen registers while the tile unit computes the following blocks.
 *
 *     tokens   the quantized activation rows, unchanged: sixteen rows, a stride apart
 *     factors  [sixteen tokens][block][2][16]: d of each token, and d * sum for the minima
 *     tile     that of avx512/gemm_32.h, with signed elements
 *     sums     [16 tokens][16 rows] of the last blocks; read LAG blocks after they are stored, when the store is done */
#ifndef REALIZAR_AMX_GEMM_32_H
#define REALIZAR_AMX_GEMM_32_H

#include "realizar/amx/token_tiles.h"
#include "realizar/avx512/tile_32.h"
#include "realizar/isa_levels.h"

/* The number of elements of a row that are unpacked at a time: two tiles and those of sixteen tokens fit into L1. */
enum { SLICE_BLOCKS = 16, SLICE_ELEMENTS = 32 * SLICE_BLOCKS };

/* From this many tokens on, tiles are faster for weights that are read from memory. */
enum { MIN_TOKENS_32 = 32, LAG = 3 };

typedef float token_factors[2][16];

typedef struct {
    char q[2][16 * SLICE_ELEMENTS];
    float d[2][SLICE_BLOCKS * 16], m[2][SLICE_BLOCKS * 16];
    int32_t sums[LAG + 1][16][16];
} slice_room;

_Static_assert(sizeof(slice_room) + MAX_TOKENS / 16 * sizeof(float[2][16][16]) <= RZ_STEP_BYTES, "sums");

static inline size_t gemm_tokens_tiles_32(size_t k)
{
    size_t fit = rz_panel_bytes(k) / (k / 32 * sizeof(token_factors)) * 16;
    return fit < MAX_TOKENS ? fit : MAX_TOKENS;
}

typedef struct {
    slice_room *slice;
    float (*acc)[2][16][16]; /* [sixteen tokens][sixteen rows][token][row] */
    token_factors *factors;  /* [sixteen tokens][block] */
    const char *x;
    size_t x_stride, k, n;
} room_32;

static void fill_factors(const room_32 *room)
{
    const size_t n_block = room->k / 32;
    for (size_t i = 0; 16 * i < room->n; i++)
        for (size_t t = 0; t < 16; t++) {
            const char *q_row = room->x + (token_tile_at(room->n, i).first + t) * room->x_stride;
            const float *d = (const float *)(q_row + rz_act_d_offset(room->k));
            const int16_t *s = (const int16_t *)(q_row + rz_act_s_offset(room->k, 32));
            token_factors *out = room->factors + i * n_block;
            for (size_t b = 0; b < n_block; b++) {
                out[b][0][t] = d[b];
                out[b][1][t] = d[b] * (float)s[b];
            }
        }
}

/* A slice (some blocks) of thirty-two rows. */
static void unpack_slice_tiles(const gemm_32_format *format, const tile_rows *rows, size_t first, size_t n_blocks,
                               slice_room *slice, fetch_rows *next)
{
    const __m512i bias = _mm512_set1_epi8((char)(format->bias_bits ? 1 << format->bias_bits : 0));
    for (int half = 0; half < 2; half++) {
        tile_32 tile = {slice->q[half], slice->d[half], slice->m[half]};
        unpack_slice_32(*format, &rows[half], first, n_blocks, &tile, next);
        for (char *q = tile.q; q < tile.q + 512 * n_blocks; q += 64)
            _mm512_store_si512(q, _mm512_sub_epi8(_mm512_load_si512(q), bias));
    }
}

/* A slice of sixteen rows, and that of sixteen tokens. With TWO_SCALES, the functions below work on blocks of 16
 * elements: d is the scale of the even ones, m that of the odd ones, and a token's factors are those of both. */
typedef struct {
    const char *q, *x;
    size_t x_stride;
    const float *d, *m;
    const token_factors *factors;
} block_source;

#define RZ_MULTIPLY_32(SUM, TOKENS, WEIGHTS)                                                                           \
    _tile_zero(SUM);                                                                                                   \
    RZ_TILE_LOAD(TOKENS, from->x + elements * b, 0, from->x_stride);                                                   \
    RZ_TILE_LOAD(WEIGHTS, from->q + 16 * elements * b, 0, 64);                                                         \
    _tile_dpbssd(SUM, TOKENS, WEIGHTS);                                                                                \
    RZ_TILE_STORE(SUM, sums, 0, 64)

/* Computes the sums of block b. Consecutive blocks use different registers, so that they do not wait for each other. */
RZ_INLINE void multiply_32(const block_source *from, size_t elements, size_t b, int32_t (*sums)[16])
{
    if (b % 2) {
        RZ_MULTIPLY_32(1, 5, 7);
    } else {
        RZ_MULTIPLY_32(0, 4, 6);
    }
}

/* factor * *value in every lane; a memory operand, so that a token needs no register. */
RZ_INLINE __m512 times_float(__m512 factor, const float *value)
{
    __m512 product;
    __asm__("vmulps %2%{1to16%}, %1, %0" : "=v"(product) : "v"(factor), "m"(*value));
    return product;
}

/* acc += isum * (d dx) (+ m * (dx sum)) for block b. */
RZ_INLINE void scale_32(int has_min, const block_source *from, size_t b, const int32_t (*sums)[16], __m512 *acc)
{
    const float *scales = has_min == TWO_SCALES && b % 2 ? from->m : from->d;
    if (has_min == TWO_SCALES) b /= 2;
    const __m512 d = _mm512_load_ps(scales + 16 * b);
    const __m512 m = has_min == HAS_MIN ? _mm512_load_ps(from->m + 16 * b) : d;
#pragma GCC unroll 16
    for (int t = 0; t < 16; t++) {
        __m512 isum = _mm512_cvtepi32_ps(_mm512_load_si512(sums[t]));
        acc[t] = _mm512_fmadd_ps(isum, times_float(d, &from->factors[b][0][t]), acc[t]);
        if (has_min == HAS_MIN)
            __asm__("vfmadd231ps %2%{1to16%}, %1, %0" : "+v"(acc[t]) : "v"(m), "m"(from->factors[b][1][t]));
    }
}

/* Some blocks of sixteen rows against sixteen tokens. */
RZ_INLINE void multiply_slice_tile(int has_min, const block_source *from, size_t n_blocks, int32_t (*sums)[16][16],
                                   float (*total)[16])
{
    __m512 acc[16];
#pragma GCC unroll 16
    for (int t = 0; t < 16; t++) acc[t] = _mm512_load_ps(total[t]);
    const size_t elements = has_min == TWO_SCALES ? 16 : 32;
    if (has_min == TWO_SCALES) n_blocks *= 2;
    for (size_t b = 0; b < n_blocks + LAG; b++) {
        if (b < n_blocks) multiply_32(from, elements, b, sums[b % (LAG + 1)]);
        if (b >= LAG) scale_32(has_min, from, b - LAG, (const int32_t (*)[16])sums[(b - LAG) % (LAG + 1)], acc);
    }
#pragma GCC unroll 16
    for (int t = 0; t < 16; t++) _mm512_store_ps(total[t], acc[t]);
}

/* Blocks [first, first + n_blocks) of thirty-two unpacked rows against all tokens. */
RZ_INLINE void multiply_tokens_32(int has_min, const room_32 *room, size_t first, size_t n_blocks, fetch_rows *next,
                                  size_t n_fetch)
{
    slice_room *slice = room->slice;
    for (size_t i = 0; 16 * i < room->n; i++)
        for (int half = 0; half < 2; half++) {
            block_source from = {
                .q = slice->q[half],
                .x = room->x + token_tile_at(room->n, i).first * room->x_stride + 32 * first,
                .x_stride = room->x_stride,
                .d = slice->d[half],
                .m = slice->m[half],
                .factors = (const token_factors *)room->factors + i * (room->k / 32) + first,
            };
            multiply_slice_tile(has_min, &from, n_blocks, slice->sums, room->acc[i][half]);
            for (size_t j = 0; j < n_fetch; j++) fetch_some(next);
        }
}

RZ_INLINE void multiply_rows_tiles_32(const gemm_32_format *format, int has_min, const room_32 *room, const void *w,
                                      size_t w_stride, size_t r0, size_t r1, float *y, size_t ldy)
{
    const size_t n_block = room->k / 32, n_tile = (room->n + 15) / 16;
    for (size_t r = r0; r < r1; r += STEP_ROWS) {
        fetch_rows next = fetch_rows_from(w, w_stride, r + STEP_ROWS, r1);
        tile_rows rows[2] = {tile_rows_at(w, w_stride, r, r1), tile_rows_at(w, w_stride, r + 16, r1)};
        size_t n_fetch = next.quarter / 64 * SLICE_BLOCKS / n_block / (2 * n_tile) + 1;
        memset(room->acc, 0, n_tile * sizeof *room->acc);
        for (size_t first = 0; first < n_block; first += SLICE_BLOCKS) {
            size_t n_blocks = n_block - first < SLICE_BLOCKS ? n_block - first : SLICE_BLOCKS;
            unpack_slice_tiles(format, rows, first, n_blocks, room->slice, &next);
            multiply_tokens_32(has_min, room, first, n_blocks, &next, n_fetch);
        }
        fetch_rest(&next);
        store_rows(room->acc, room->n, r, r1, y, ldy);
    }
}

/* has_min: whether the format has minima, a compile-time constant. */
RZ_INLINE void gemm_32_tiles(int format_index, int has_min, RZ_MATMUL_PARAMS)
{
    static const char layout; /* the layout of the factors is the same for all formats */
    const gemm_32_format *format = rz_avx512_gemm_32[format_index];
    const size_t most = gemm_tokens_tiles_32(k);
    char *at = (char *)scratch + RZ_KEY_BYTES;
    for (size_t t0 = 0; t0 < n; t0 += most) {
        room_32 room = {
            .slice = (slice_room *)at,
            .acc = (float (*)[2][16][16])(at + sizeof(slice_room)),
            .factors = (token_factors *)(at + RZ_STEP_BYTES),
            .x = (const char *)x + t0 * x_stride,
            .x_stride = x_stride,
            .k = k,
            .n = n - t0 < most ? n - t0 : most,
        };
        if (room.n < MIN_TOKENS_32) {
            rz_avx512.format[format_index].gemm(w, w_stride, k, r0, r1, room.x, x_stride, room.n, y + t0 * ldy, ldy,
                                                scratch);
            return;
        }
        fetch_rows rows = fetch_rows_from(w, w_stride, r0, r1);
        fetch_rest(&rows);
        if (!panels_known(scratch, room.x, &layout, k, room.n)) fill_factors(&room);
        configure_tiles(has_min == TWO_SCALES ? 16 : 32);
        multiply_rows_tiles_32(format, has_min, &room, w, w_stride, r0, r1, y + t0 * ldy, ldy);
        release_tiles();
    }
}

#endif
