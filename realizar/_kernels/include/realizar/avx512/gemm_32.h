/* GEMM of the 32-element formats: two tiles of sixteen unpacked rows against up to six tokens at a time
 * (micro_kernels.h).
 *
 *     tile    q [block][8][16 rows][4] u8     every block: 8 steps of  isum[t] += q . x[t]   (vpdpbusd, x broadcast)
 *             d [block][16 rows]      float   then                     acc[t] += float(isum[t]) * (d * dx[t])
 *             m [block][16 rows]      float   and with a minimum       acc[t] += m * (dx[t] * sum[t])
 *                                             with two scales, four steps with d, then four with m
 *     panel   [block][6 tokens]       of token_block_32 below */
#ifndef REALIZAR_AVX512_GEMM_32_H
#define REALIZAR_AVX512_GEMM_32_H

#include "realizar/avx512/tile_32.h"

/* One block of a token in a panel. */
typedef struct {
    int8_t q[32];
    int32_t start; /* - bias * sum; with TWO_SCALES, of the first half */
    float d;
    union {
        float d_sum;
        int32_t second_start;
    };
} token_block_32;

/* Copies blocks [first, first + n_blocks) of a quantized row into a panel, from the slot of the token in a step on. */
static void fill_token_32(const char *q_row, size_t k, size_t first, size_t n_blocks, int bias_bits, int has_min,
                          token_block_32 *out)
{
    const float *d = (const float *)(q_row + rz_act_d_offset(k));
    const int16_t *s = (const int16_t *)(q_row + rz_act_s_offset(k, 32));
    for (size_t b = first; b < first + n_blocks; b++, out += STEP_TOKENS) {
        memcpy(out->q, q_row + b * 32, 32);
        out->start = bias_bits ? -s[b] * (1 << bias_bits) : 0;
        out->d = d[b];
        out->d_sum = d[b] * (float)s[b];
        if (has_min != TWO_SCALES) continue;
        __m256i ones = _mm256_set1_epi8(1), q = _mm256_loadu_si256((const __m256i *)(q_row + b * 32));
        __m256i sums = _mm256_dpbusd_epi32(_mm256_setzero_si256(), ones, q);
        int32_t second = _mm512_reduce_add_epi32(_mm512_zextsi128_si512(_mm256_extracti128_si256(sums, 1)));
        out->start = (second - s[b]) * (1 << bias_bits);
        out->second_start = -second * (1 << bias_bits);
    }
}

static void fill_panels_32(const char *x, size_t x_stride, size_t k, int bias_bits, int has_min, const gemm_room *room)
{
    const size_t per_slice = room->slice / 32;
    for (size_t first = 0, slice = 0; first < k / 32; first += per_slice, slice++) {
        size_t n_blocks = k / 32 - first < per_slice ? k / 32 - first : per_slice;
        for (size_t step = 0; step < room->n_steps; step++) {
            token_block_32 *panel = (token_block_32 *)panel_at(room, slice, step);
            size_t t0 = first_of_step(room->n_tokens, step), t1 = first_of_step(room->n_tokens, step + 1);
            for (size_t t = t0; t < t1; t++)
                fill_token_32(x + t * x_stride, k, first, n_blocks, bias_bits, has_min, panel + t - t0);
        }
    }
}

/* isum[tile][t] = the dot products of steps [first, last) of block b, which begin at the number at start_at. */
RZ_INLINE void multiply_steps_32(const tile_32 *tiles, size_t b, int first, int last, const char *x, size_t start_at,
                                 int n, __m512i (*isum)[STEP_TOKENS])
{
    const size_t bytes = sizeof(token_block_32);
    const char *w_0 = tiles[0].q + b * 512, *w_1 = tiles[1].q + b * 512;
#define RZ_START(t) isum[0][t] = isum[1][t] = broadcast_dword(x + t * bytes + start_at);
    EACH_TOKEN(n, RZ_START);
#undef RZ_START
#pragma GCC unroll 8
    for (int step = first; step < last; step++) {
        __m512i w_0_u8x64 = _mm512_load_si512(w_0 + 64 * step), w_1_u8x64 = _mm512_load_si512(w_1 + 64 * step);
#define RZ_DOT(t)                                                                                                      \
    __m512i x_s8x64 = broadcast_dword(x + t * bytes + 4 * (size_t)step);                                               \
    dot_bytes(&isum[0][t], w_0_u8x64, x_s8x64);                                                                        \
    dot_bytes(&isum[1][t], w_1_u8x64, x_s8x64);
        EACH_TOKEN(n, RZ_DOT);
#undef RZ_DOT
    }
}

/* Adds block b of two tiles to acc[tile][t]. */
RZ_INLINE void multiply_block_32(const tile_32 *tiles, size_t b, const char *x, int n, int has_min,
                                 __m512 (*acc)[STEP_TOKENS])
{
    const size_t bytes = sizeof(token_block_32);
    __m512i isum[2][STEP_TOKENS];
    __m512 d_0 = _mm512_load_ps(tiles[0].d + b * 16), d_1 = _mm512_load_ps(tiles[1].d + b * 16);
#define RZ_SCALE(t)                                                                                                    \
    __m512 dx = _mm512_castsi512_ps(broadcast_dword(x + t * bytes + offsetof(token_block_32, d)));                     \
    acc[0][t] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(isum[0][t]), _mm512_mul_ps(d_0, dx), acc[0][t]);                    \
    acc[1][t] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(isum[1][t]), _mm512_mul_ps(d_1, dx), acc[1][t]);
    if (has_min == TWO_SCALES) {
        multiply_steps_32(tiles, b, 0, 4, x, offsetof(token_block_32, start), n, isum);
        EACH_TOKEN(n, RZ_SCALE);
        d_0 = _mm512_load_ps(tiles[0].m + b * 16), d_1 = _mm512_load_ps(tiles[1].m + b * 16);
        multiply_steps_32(tiles, b, 4, 8, x, offsetof(token_block_32, second_start), n, isum);
    } else
        multiply_steps_32(tiles, b, 0, 8, x, offsetof(token_block_32, start), n, isum);
#define RZ_FINISH(t)                                                                                                   \
    RZ_SCALE(t)                                                                                                        \
    if (has_min == HAS_MIN) {                                                                                          \
        __m512 dx_sum = _mm512_castsi512_ps(broadcast_dword(x + t * bytes + offsetof(token_block_32, d_sum)));         \
        acc[0][t] = _mm512_fmadd_ps(_mm512_load_ps(tiles[0].m + b * 16), dx_sum, acc[0][t]);                           \
        acc[1][t] = _mm512_fmadd_ps(_mm512_load_ps(tiles[1].m + b * 16), dx_sum, acc[1][t]);                           \
    }
    EACH_TOKEN(n, RZ_FINISH);
#undef RZ_FINISH
#undef RZ_SCALE
}

/* Some blocks of two tiles against the n tokens of a panel. */
RZ_INLINE void multiply_slice_32(const tile_32 *tiles, size_t n_blocks, const char *panel, int n, int has_min,
                                 fetch_rows *next, float (*sums)[STEP_TOKENS][16])
{
    __m512 acc[2][STEP_TOKENS];
#define RZ_LOAD(t) acc[0][t] = _mm512_load_ps(sums[0][t]), acc[1][t] = _mm512_load_ps(sums[1][t]);
    EACH_TOKEN(n, RZ_LOAD);
#undef RZ_LOAD
    for (size_t b = 0; b < n_blocks; b++) {
        if (b % 2) fetch_some(next);
        multiply_block_32(tiles, b, panel + b * STEP_TOKENS * sizeof(token_block_32), n, has_min, acc);
    }
#define RZ_STORE(t) _mm512_store_ps(sums[0][t], acc[0][t]), _mm512_store_ps(sums[1][t], acc[1][t]);
    EACH_TOKEN(n, RZ_STORE);
#undef RZ_STORE
}

typedef void multiply_slice_32_fn(const tile_32 *tiles, size_t n_blocks, const char *panel, fetch_rows *next,
                                  float (*sums)[STEP_TOKENS][16]);

#define MULTIPLY_SLICE_32(n)                                                                                           \
    static void multiply_slice_32_##n(const tile_32 *tiles, size_t n_blocks, const char *panel, fetch_rows *next,      \
                                      float (*sums)[STEP_TOKENS][16])                                                  \
    {                                                                                                                  \
        multiply_slice_32(tiles, n_blocks, panel, n, NO_MIN, next, sums);                                              \
    }                                                                                                                  \
    static void multiply_slice_32_min_##n(const tile_32 *tiles, size_t n_blocks, const char *panel, fetch_rows *next,  \
                                          float (*sums)[STEP_TOKENS][16])                                              \
    {                                                                                                                  \
        multiply_slice_32(tiles, n_blocks, panel, n, HAS_MIN, next, sums);                                             \
    }                                                                                                                  \
    static void multiply_slice_32_two_##n(const tile_32 *tiles, size_t n_blocks, const char *panel, fetch_rows *next,  \
                                          float (*sums)[STEP_TOKENS][16])                                              \
    {                                                                                                                  \
        multiply_slice_32(tiles, n_blocks, panel, n, TWO_SCALES, next, sums);                                          \
    }
MULTIPLY_SLICE_32(1)
MULTIPLY_SLICE_32(2)
MULTIPLY_SLICE_32(3)
MULTIPLY_SLICE_32(4)
MULTIPLY_SLICE_32(5)
MULTIPLY_SLICE_32(6)
#undef MULTIPLY_SLICE_32

/* [has_min][tokens] */
static multiply_slice_32_fn *const multiply_slice_32_of[3][STEP_TOKENS + 1] = {
    {NULL, multiply_slice_32_1, multiply_slice_32_2, multiply_slice_32_3, multiply_slice_32_4, multiply_slice_32_5,
     multiply_slice_32_6},
    {NULL, multiply_slice_32_min_1, multiply_slice_32_min_2, multiply_slice_32_min_3, multiply_slice_32_min_4,
     multiply_slice_32_min_5, multiply_slice_32_min_6},
    {NULL, multiply_slice_32_two_1, multiply_slice_32_two_2, multiply_slice_32_two_3, multiply_slice_32_two_4,
     multiply_slice_32_two_5, multiply_slice_32_two_6},
};

/* Thirty-two rows from row r on against all tokens. */
RZ_INLINE void multiply_rows_32(gemm_32_format format, const void *w, size_t w_stride, size_t k, size_t r, size_t r1,
                                const gemm_room *room, float *y, size_t ldy)
{
    const size_t per_slice = room->slice / 32;
    fetch_rows next = fetch_rows_from(w, w_stride, r + STEP_ROWS, r1);
    tile_rows rows[2] = {tile_rows_at(w, w_stride, r, r1), tile_rows_at(w, w_stride, r + 16, r1)};
    tile_32 tiles[2];
    for (int i = 0; i < 2; i++) {
        float *d = (float *)(room->tile[i] + 16 * room->slice);
        tiles[i] = (tile_32){room->tile[i], d, d + room->slice / 32 * 16};
    }
    for (size_t first = 0, slice = 0; first < k / 32; first += per_slice, slice++) {
        size_t n_blocks = k / 32 - first < per_slice ? k / 32 - first : per_slice;
        for (int i = 0; i < 2; i++) unpack_slice_32(format, &rows[i], first, n_blocks, &tiles[i], &next);
        for (size_t step = 0; step < room->n_steps; step++) {
            size_t n = first_of_step(room->n_tokens, step + 1) - first_of_step(room->n_tokens, step);
            float (*sums)[STEP_TOKENS][16] = sums_of(room, k, step);
            if (first == 0) memset(sums, 0, sizeof *room->acc);
            multiply_slice_32_of[format.has_min][n](tiles, n_blocks, panel_at(room, slice, step), &next, sums);
            if (first + n_blocks == k / 32) store_step(room, step, sums, r, r1, y, ldy);
        }
    }
    fetch_rest(&next);
}

RZ_INLINE void gemm_32(gemm_32_format format, RZ_MATMUL_PARAMS)
{
    static const char biased[2][8]; /* panels differ only in the bias, and in the starts of halves */
    size_t most = rz_gemm_tokens(k);
    for (size_t t0 = 0; t0 < n; t0 += most) {
        const char *here = (const char *)x + t0 * x_stride;
        gemm_room room = room_for(scratch, here, k, n - t0 < most ? n - t0 : most, 32, sizeof(token_block_32),
                                  &biased[format.has_min == TWO_SCALES][format.bias_bits]);
        fetch_rows first = fetch_rows_from(w, w_stride, r0, r1);
        fetch_rest(&first);
        if (!room.known) fill_panels_32(here, x_stride, k, format.bias_bits, format.has_min, &room);
        for (size_t r = r0; r < r1; r += STEP_ROWS)
            multiply_rows_32(format, w, w_stride, k, r, r1, &room, y + t0 * ldy, ldy);
    }
}

#endif
