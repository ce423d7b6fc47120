/* GEMM of the K formats on tiles: sixteen weight rows against sixteen tokens, 64 elements at a time.
 *
 * The tile unit multiplies bytes, but an element is scale * (q - bias), which has up to 14 bits. So the elements are
 * split into two planes of bytes, scale * (q - bias) = 256 * high + low, and isum = 256 * (high . x) + (low . x), which
 * is exact. In formats whose unpacked elements, center + scale * (q - bias), fit in a byte (avx512/gemm_256.h), there
 * is one plane.
 *
 *     tokens   the quantized activation rows, unchanged: sixteen rows, a stride apart
 *     planes   [plane][64][16 rows][4]: one block of sixteen weight rows, made from the avx512 level's unpacked rows
 *     sums     [plane][16 tokens][16 rows]: the results of the tile unit; double-buffered, so that it fills one buffer
 *              while the vector unit scales the other */
#ifndef REALIZAR_AMX_GEMM_256_H
#define REALIZAR_AMX_GEMM_256_H

#include "realizar/amx/token_tiles.h"
#include "realizar/avx512/gemm_256.h"

enum { BLOCK_BYTES = 4096 /* of a plane */ };

/* From this many tokens on, two planes pay off for weights that are read from memory. */
enum { MIN_TOKENS = 20 };

/* The data of one block of a token in addition to its elements. */
typedef struct {
    int32_t pairs[8]; /* sums over the elements of each minimum, as words */
    int32_t start;    /* - center * the sum of all elements */
    float d;
} token_sums;

typedef struct {
    char planes[2][2][BLOCK_BYTES]; /* [sixteen rows][plane] */
    char q[BLOCK_BYTES];
    int32_t scales[2][16][16];
    float d[2][16], dmin[2][16];
    int32_t sums[2][2][2][16][16]; /* [current or previous][sixteen rows][plane][token][row] */
} step_room;

_Static_assert(sizeof(step_room) + MAX_TOKENS / 16 * sizeof(float[2][16][16]) <= RZ_STEP_BYTES, "sums");

/* Tokens are not repacked; only their sums take scratch, so as many as possible can share the unpacked weights. */
static inline size_t gemm_tokens_tiles(size_t k)
{
    size_t fit = rz_panel_bytes(k) / ((k / 256 + 1) * sizeof(token_sums));
    return (fit < MAX_TOKENS ? fit : MAX_TOKENS) / 16 * 16;
}

typedef struct {
    step_room *step;
    float (*acc)[2][16][16]; /* [sixteen tokens][sixteen rows][token][row] */
    token_sums *tokens;      /* [block][token] */
    const char *x;
    size_t x_stride, k, n;
} tile_room;

/* ---- tokens -------------------------------------------------------------------------------------------------------- */

static void fill_token_sums(const gemm_256_format *format, const tile_room *room)
{
    for (size_t b = 0; b < room->k / 256; b++)
        for (size_t t = 0; t < room->n; t++) {
            const char *q_row = room->x + t * room->x_stride;
            token_sums *out = &room->tokens[b * room->n + t];
            __m256i sum_16 = _mm256_loadu_si256((const __m256i *)(q_row + rz_act_s_offset(room->k, 256)) + b);
            __m256i sum_32 = _mm256_madd_epi16(sum_16, _mm256_set1_epi16(1));
            __m256i pairs = format->n_min == 16 ? sum_16 : _mm256_zextsi128_si256(_mm256_cvtepi32_epi16(sum_32));
            _mm256_storeu_si256((__m256i *)out->pairs, pairs);
            out->start = -format->center * _mm512_reduce_add_epi32(_mm512_zextsi256_si512(sum_32));
            memcpy(&out->d, q_row + rz_act_d_offset(room->k) + b * sizeof(float), sizeof(float));
        }
}

/* ---- weights ------------------------------------------------------------------------------------------------------- */

/* The planes of scale * (q - bias) of 4 n elements with one scale; first: the scale in even bytes, last: in odd ones. */
RZ_INLINE void split_group(const char *q, int n, __m512i first, __m512i last, __m512i less, char *high, char *low)
{
    const __m512i odd_bytes = _mm512_set1_epi16((short)0xff00);
    for (int i = 0; i < n; i++) {
        __m512i both = _mm512_load_si512(q + 64 * i);
        __m512i even = _mm512_sub_epi16(_mm512_maddubs_epi16(both, first), less);
        __m512i odd = _mm512_sub_epi16(_mm512_maddubs_epi16(both, last), less);
        __m512i even_high = _mm512_srli_epi16(even, 8), odd_low = _mm512_slli_epi16(odd, 8);
        _mm512_store_si512(low + 64 * i, _mm512_ternarylogic_epi32(odd_bytes, odd_low, even, 0xca));
        _mm512_store_si512(high + 64 * i, _mm512_ternarylogic_epi32(odd_bytes, odd, even_high, 0xca));
    }
}

/* Computes the planes of one block from its bytes and scales. */
RZ_INLINE void split_block(const gemm_256_format *format, int n_scale, const char *q, const int32_t (*scales)[16],
                           char (*planes)[BLOCK_BYTES], fetch_rows *next)
{
    /* The scale in the low byte of the lower or upper word of a pair: in even bytes, or in odd bytes. */
    const __m512i even[2] = {_mm512_set4_epi32((int)0x800c800c, (int)0x80088008, (int)0x80048004, (int)0x80008000),
                             _mm512_set4_epi32((int)0x800e800e, (int)0x800a800a, (int)0x80068006, (int)0x80028002)};
    const __m512i bias = _mm512_set1_epi16((short)format->bias);
    const int n = 64 / n_scale;
    for (int pair = 0; pair < n_scale / 2; pair++) {
        fetch_some(next);
        __m512i scales_of_two = _mm512_load_si512(scales[pair]);
        for (int i = 0; i < 2; i++) {
            size_t at = (size_t)((2 * pair + i) * n) * 64;
            __m512i first = _mm512_shuffle_epi8(scales_of_two, even[i]), last = _mm512_slli_epi16(first, 8);
            __m512i less = _mm512_mullo_epi16(_mm512_srai_epi16(last, 8), bias);
            split_group(q + at, n, first, last, less, planes[0] + at, planes[1] + at);
        }
    }
}

/* Unpacks block b of sixteen rows. */
RZ_INLINE void unpack_block(const gemm_256_format *format, int n_scale, const tile_rows *rows, size_t b,
                            step_room *step, int half, fetch_rows *next)
{
    const char *blocks[16];
    for (int r = 0; r < 16; r++) blocks[r] = rows->row[r] + b * (size_t)format->block_bytes;
    fetch_some(next);
    format->unpack_scales(blocks, step->scales[half]);
    __m512i dwords = _mm512_load_si512(step->scales[half][D_AT]);
    _mm512_store_ps(step->d[half], d_of_halves(format, dwords));
    _mm512_store_ps(step->dmin[half], low_halves_f32(_mm512_srli_epi32(dwords, 16)));
    fetch_some(next);
    if (n_scale) {
        format->unpack_256(blocks, step->q);
        split_block(format, n_scale, step->q, (const int32_t (*)[16])step->scales[half], step->planes[half], next);
    } else
        format->unpack_256(blocks, step->planes[half][0]);
}

/* ---- products ------------------------------------------------------------------------------------------------------ */

/* The sums of thirty-two rows and a tile of tokens, and the accumulators to which they are added. */
typedef struct {
    const int32_t (*sums)[2][16][16]; /* [sixteen rows][plane] */
    const token_sums *tokens;
    float (*acc)[16][16]; /* [sixteen rows]; NULL: no sums yet */
    __mmask16 begun;      /* 0: of the first block, whose accumulators are zero, whatever they hold */
} summed;

/* sum += products of two words, with *pair in every lane; a memory operand, so that a token needs no register. */
RZ_INLINE void dot_words_with(__m512i *sum, __m512i a, const int32_t *pair)
{
    __asm__("vpdpwssd %2%{1to16%}, %1, %0" : "+v"(*sum) : "v"(a), "m"(*pair));
}

/* acc += d dx isum (- dmin dx xsum) for tokens 4 i to 4 i + 3 and sixteen rows; the rows' factors stay in registers. */
RZ_INLINE void scale_four(int n_scale, int n_min, const summed *s, const step_room *step, int half, size_t i)
{
    if (!s->acc) return;
    const __m512 d = _mm512_load_ps(step->d[half]), dmin = _mm512_load_ps(step->dmin[half]);
    __m512i mins[8];
#pragma GCC unroll 8
    for (int p = 0; p < n_min / 2; p++) mins[p] = _mm512_load_si512(step->scales[half][n_scale / 2 + p]);
#pragma GCC unroll 4
    for (size_t t = 4 * i; t < 4 * i + 4; t++) {
        const token_sums *token = &s->tokens[t];
        __m512i isum = _mm512_load_si512(s->sums[half][0][t]);
        isum = n_scale ? _mm512_add_epi32(_mm512_slli_epi32(isum, 8), _mm512_load_si512(s->sums[half][1][t]))
                       : _mm512_add_epi32(isum, _mm512_set1_epi32(token->start));
        __m512 dx = _mm512_set1_ps(token->d);
        __m512 sum = _mm512_maskz_load_ps(s->begun, s->acc[half][t]);
        sum = _mm512_fmadd_ps(_mm512_cvtepi32_ps(isum), _mm512_mul_ps(d, dx), sum);
        if (n_min) {
            __m512i xsum = _mm512_setzero_si512();
#pragma GCC unroll 8
            for (int p = 0; p < n_min / 2; p++) dot_words_with(&xsum, mins[p], &token->pairs[p]);
            sum = _mm512_fnmadd_ps(_mm512_mul_ps(dmin, dx), _mm512_cvtepi32_ps(xsum), sum);
        }
        _mm512_store_ps(s->acc[half][t], sum);
    }
}

RZ_INLINE void scale_some(int n_scale, int n_min, const summed *s, const step_room *step, size_t i)
{
    scale_four(n_scale, n_min, s, step, 0, i);
    scale_four(n_scale, n_min, s, step, 1, i);
}

/* 64 elements: tokens in register 4, weights in 5 to 7, sums in 0 to 3. Each load of weights depends only on the
 * product before the last one; with all loads first it takes a quarter longer. */
#define RZ_MULTIPLY_64(X_AT, HIGH_AT, LOW_AT)                                                                          \
    RZ_TILE_LOAD(4, x, X_AT, x_stride);                                                                                \
    RZ_TILE_LOAD(5, step->planes[0], HIGH_AT, 64);                                                                     \
    if (n_scale) {                                                                                                     \
        _tile_dpbssd(0, 4, 5);                                                                                         \
        RZ_TILE_LOAD(6, step->planes[0], LOW_AT, 64);                                                                  \
        _tile_dpbsud(1, 4, 6);                                                                                         \
        RZ_TILE_LOAD(7, step->planes[1], HIGH_AT, 64);                                                                 \
        _tile_dpbssd(2, 4, 7);                                                                                         \
        RZ_TILE_LOAD(5, step->planes[1], LOW_AT, 64);                                                                  \
        _tile_dpbsud(3, 4, 5);                                                                                         \
    } else {                                                                                                           \
        _tile_dpbsud(0, 4, 5);                                                                                         \
        RZ_TILE_LOAD(6, step->planes[1], HIGH_AT, 64);                                                                 \
        _tile_dpbsud(2, 4, 6);                                                                                         \
    }

/* One block of thirty-two rows against sixteen tokens, the first one at x. Between its quarters, the vector unit scales
 * the sums of the previous sixteen tokens, so that the tile unit and the vector unit work at the same time. */
RZ_INLINE void multiply_block(int n_scale, int n_min, const char *x, size_t x_stride, step_room *step,
                              int32_t (*sums)[2][16][16], const summed *before)
{
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    RZ_MULTIPLY_64(0, 0, 4096);
    scale_some(n_scale, n_min, before, step, 0);
    RZ_MULTIPLY_64(64, 1024, 5120);
    scale_some(n_scale, n_min, before, step, 1);
    RZ_MULTIPLY_64(128, 2048, 6144);
    scale_some(n_scale, n_min, before, step, 2);
    RZ_MULTIPLY_64(192, 3072, 7168);
    scale_some(n_scale, n_min, before, step, 3);
    RZ_TILE_STORE(0, sums, 0, 64);
    if (n_scale) RZ_TILE_STORE(1, sums, 1024, 64);
    RZ_TILE_STORE(2, sums, 2048, 64);
    if (n_scale) RZ_TILE_STORE(3, sums, 3072, 64);
}

/* One block of thirty-two rows against all tokens. */
RZ_INLINE void multiply_tokens(int n_scale, int n_min, const tile_room *room, size_t b, fetch_rows *next,
                               size_t n_fetch)
{
    step_room *step = room->step;
    summed before = {.acc = NULL};
    for (size_t i = 0; 16 * i < room->n; i++) {
        token_tile at = token_tile_at(room->n, i);
        multiply_block(n_scale, n_min, room->x + at.first * room->x_stride + 256 * b, room->x_stride, step,
                       step->sums[i % 2], &before);
        before = (summed){(const int32_t (*)[2][16][16])step->sums[i % 2], room->tokens + b * room->n + at.first,
                          room->acc[i], b ? 0xffff : 0};
        for (size_t j = 0; j < n_fetch; j++) fetch_some(next);
    }
    for (size_t i = 0; i < 4; i++) scale_some(n_scale, n_min, &before, step, i);
}

RZ_INLINE void multiply_rows_tiles(const gemm_256_format *format, int n_scale, int n_min, const tile_room *room,
                                   const void *w, size_t w_stride, size_t r0, size_t r1, float *y, size_t ldy)
{
    const size_t n_block = room->k / 256, n_tile = (room->n + 15) / 16;
    for (size_t r = r0; r < r1; r += STEP_ROWS) {
        fetch_rows next = fetch_rows_from(w, w_stride, r + STEP_ROWS, r1);
        tile_rows rows[2] = {tile_rows_at(w, w_stride, r, r1), tile_rows_at(w, w_stride, r + 16, r1)};
        size_t lines = next.quarter / 64 / n_block, fetched = 4 + (size_t)n_scale;
        size_t n_fetch = (lines > fetched ? lines - fetched : 0) / n_tile + 1;
        for (size_t b = 0; b < n_block; b++) {
            for (int half = 0; half < 2; half++) unpack_block(format, n_scale, &rows[half], b, room->step, half, &next);
            multiply_tokens(n_scale, n_min, room, b, &next, n_fetch);
        }
        fetch_rest(&next);
        store_rows(room->acc, room->n, r, r1, y, ldy);
    }
}

/* n_scale, n_min: scales and minima of a block of the format, compile-time constants. */
RZ_INLINE void gemm_256_tiles(int format_index, int n_scale, int n_min, RZ_MATMUL_PARAMS)
{
    const gemm_256_format *format = rz_avx512_gemm_256[format_index];
    const size_t most = gemm_tokens_tiles(k);
    char *at = (char *)scratch + RZ_KEY_BYTES;
    for (size_t t0 = 0; t0 < n; t0 += most) {
        tile_room room = {
            .step = (step_room *)at,
            .acc = (float (*)[2][16][16])(at + sizeof(step_room)),
            .tokens = (token_sums *)(at + RZ_STEP_BYTES),
            .x = (const char *)x + t0 * x_stride,
            .x_stride = x_stride,
            .k = k,
            .n = n - t0 < most ? n - t0 : most,
        };
        if (room.n < MIN_TOKENS) {
            rz_avx512.format[format_index].gemm(w, w_stride, k, r0, r1, room.x, x_stride, room.n, y + t0 * ldy, ldy,
                                                scratch);
            return;
        }
        fetch_rows rows = fetch_rows_from(w, w_stride, r0, r1);
        fetch_rest(&rows);
        if (!panels_known(scratch, room.x, format, k, room.n)) fill_token_sums(format, &room);
        configure_tiles(64);
        multiply_rows_tiles(format, n_scale, n_min, &room, w, w_stride, r0, r1, y + t0 * ldy, ldy);
        release_tiles();
    }
}

#endif
