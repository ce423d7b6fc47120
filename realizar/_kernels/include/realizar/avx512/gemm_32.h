/* GEMM of the 32-element formats: two tiles of sixteen unpacked rows against up to six tokens at a time (micro.h).
 *
 *     tile    q [k / 4][16 rows][4]   u8      every block: 8 steps of  isum[t] += q . x[t]   (vpdpbusd, x broadcast)
 *             d [k / 32][16 rows]     float   then                     acc[t] += float(isum[t]) * (d * dx[t])
 *             m [k / 32][16 rows]     float   and with a minimum       acc[t] += m * (dx[t] * sum[t])
 *     panel   [k / 32][6 tokens]      of token_block_32 below
 */
#ifndef REALIZAR_AVX512_GEMM_32_H
#define REALIZAR_AVX512_GEMM_32_H

#include "realizar/avx512/micro.h"

/* bias_bits: log2 of the bias that the unsigned elements count from; 0: none. */
typedef struct {
    unpack_64_fn *unpack_64;
    int block_bytes, bias_bits, has_min;
} gemm_32_format;

typedef struct {
    char *q;
    float *d, *m;
    __mmask16 there; /* rows that exist */
} tile_32;

/* One block of a token in a panel. */
typedef struct {
    int8_t q[32];
    int32_t start; /* - bias * sum */
    float d, d_sum;
} token_block_32;

/* The tile of sixteen rows from row r on; rows that do not exist repeat the last one and are not written. */
RZ_INLINE void unpack_tile_32(gemm_32_format format, const void *w, size_t w_stride, size_t k, size_t r, size_t r1,
                              char *room, tile_32 *tile)
{
    tile_rows rows = tile_rows_at(w, w_stride, r < r1 ? r : r1 - 1, r1);
    *tile = (tile_32){room, (float *)(room + 16 * k), (float *)(room + 18 * k),
                      (__mmask16)(r < r1 ? (1u << rows.n) - 1 : 0)};
    unpack_tile(format.unpack_64, (size_t)format.block_bytes, &rows, k, tile->q);
    for (size_t b = 0; b < k / 32; b++) {
        __m512i scales = gather_dwords(&rows, b * (size_t)format.block_bytes);
        _mm512_store_ps(tile->d + b * 16, low_halves_f32(scales));
        if (format.has_min) _mm512_store_ps(tile->m + b * 16, low_halves_f32(_mm512_srli_epi32(scales, 16)));
    }
}

/* The panels of n tokens. */
static void fill_panels_32(const char *x, size_t x_stride, size_t k, size_t n, int bias_bits, char *panels)
{
    for (size_t step = 0; step < n_token_steps(n); step++) {
        token_block_32 *panel = (token_block_32 *)panel_at(panels, step, k / 32, sizeof *panel);
        size_t t0 = first_of_step(n, step), t1 = first_of_step(n, step + 1);
        for (size_t t = t0; t < t1; t++) {
            const char *record = x + t * x_stride;
            const float *d = (const float *)(record + rz_act_d_offset(k));
            const int16_t *s = (const int16_t *)(record + rz_act_s_offset(k, 32));
            for (size_t b = 0; b < k / 32; b++) {
                token_block_32 *out = panel + b * STEP_TOKENS + t - t0;
                memcpy(out->q, record + b * 32, 32);
                out->start = bias_bits ? -s[b] * (1 << bias_bits) : 0;
                out->d = d[b];
                out->d_sum = d[b] * (float)s[b];
            }
        }
    }
}

/* Adds block b of two tiles to acc[tile][t]. */
RZ_INLINE void multiply_block_32(const tile_32 *tiles, size_t b, const char *x, int n, int has_min,
                                 __m512 (*acc)[STEP_TOKENS])
{
    const size_t bytes = sizeof(token_block_32);
    const char *w_0 = tiles[0].q + b * 512, *w_1 = tiles[1].q + b * 512;
    __m512i isum[2][STEP_TOKENS];
#define RZ_START(t) isum[0][t] = isum[1][t] = broadcast_dword(x + t * bytes + offsetof(token_block_32, start));
    EACH_TOKEN(n, RZ_START);
#undef RZ_START
#pragma GCC unroll 8
    for (int step = 0; step < 8; step++) {
        __m512i w_0_u8x64 = _mm512_load_si512(w_0 + 64 * step), w_1_u8x64 = _mm512_load_si512(w_1 + 64 * step);
#define RZ_DOT(t)                                                                                                      \
    __m512i x_s8x64 = broadcast_dword(x + t * bytes + 4 * (size_t)step);                                               \
    dot_bytes(&isum[0][t], w_0_u8x64, x_s8x64);                                                                        \
    dot_bytes(&isum[1][t], w_1_u8x64, x_s8x64);
        EACH_TOKEN(n, RZ_DOT);
#undef RZ_DOT
    }
    __m512 d_0 = _mm512_load_ps(tiles[0].d + b * 16), d_1 = _mm512_load_ps(tiles[1].d + b * 16);
#define RZ_FINISH(t)                                                                                                   \
    __m512 dx = _mm512_castsi512_ps(broadcast_dword(x + t * bytes + offsetof(token_block_32, d)));                     \
    acc[0][t] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(isum[0][t]), _mm512_mul_ps(d_0, dx), acc[0][t]);                    \
    acc[1][t] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(isum[1][t]), _mm512_mul_ps(d_1, dx), acc[1][t]);                    \
    if (has_min) {                                                                                                     \
        __m512 dx_sum = _mm512_castsi512_ps(broadcast_dword(x + t * bytes + offsetof(token_block_32, d_sum)));         \
        acc[0][t] = _mm512_fmadd_ps(_mm512_load_ps(tiles[0].m + b * 16), dx_sum, acc[0][t]);                           \
        acc[1][t] = _mm512_fmadd_ps(_mm512_load_ps(tiles[1].m + b * 16), dx_sum, acc[1][t]);                           \
    }
    EACH_TOKEN(n, RZ_FINISH);
#undef RZ_FINISH
}

/* Two whole tiles against the n tokens of a panel; y: of the first row. */
RZ_INLINE void multiply_tiles_32(const tile_32 *tiles, size_t n_blocks, const char *panel, int n, int has_min, float *y,
                                 size_t ldy)
{
    __m512 acc[2][STEP_TOKENS];
#define RZ_CLEAR(t) acc[0][t] = acc[1][t] = _mm512_setzero_ps();
    EACH_TOKEN(n, RZ_CLEAR);
#undef RZ_CLEAR
    for (size_t b = 0; b < n_blocks; b++)
        multiply_block_32(tiles, b, panel + b * STEP_TOKENS * sizeof(token_block_32), n, has_min, acc);
#define RZ_STORE(t)                                                                                                    \
    _mm512_mask_storeu_ps(y + t * ldy, tiles[0].there, acc[0][t]);                                                     \
    _mm512_mask_storeu_ps(y + t * ldy + 16, tiles[1].there, acc[1][t]);
    EACH_TOKEN(n, RZ_STORE);
#undef RZ_STORE
}

typedef void multiply_tiles_32_fn(const tile_32 *tiles, size_t n_blocks, const char *panel, float *y, size_t ldy);

#define MULTIPLY_TILES_32(n)                                                                                           \
    static void multiply_tiles_32_##n(const tile_32 *tiles, size_t n_blocks, const char *panel, float *y, size_t ldy)  \
    {                                                                                                                  \
        multiply_tiles_32(tiles, n_blocks, panel, n, NO_MIN, y, ldy);                                                  \
    }                                                                                                                  \
    static void multiply_tiles_32_min_##n(const tile_32 *tiles, size_t n_blocks, const char *panel, float *y,          \
                                          size_t ldy)                                                                  \
    {                                                                                                                  \
        multiply_tiles_32(tiles, n_blocks, panel, n, HAS_MIN, y, ldy);                                                 \
    }
MULTIPLY_TILES_32(1)
MULTIPLY_TILES_32(2)
MULTIPLY_TILES_32(3)
MULTIPLY_TILES_32(4)
MULTIPLY_TILES_32(5)
MULTIPLY_TILES_32(6)
#undef MULTIPLY_TILES_32

/* [has_min][tokens] */
static multiply_tiles_32_fn *const multiply_tiles_32_of[2][STEP_TOKENS + 1] = {
    {NULL, multiply_tiles_32_1, multiply_tiles_32_2, multiply_tiles_32_3, multiply_tiles_32_4, multiply_tiles_32_5,
     multiply_tiles_32_6},
    {NULL, multiply_tiles_32_min_1, multiply_tiles_32_min_2, multiply_tiles_32_min_3, multiply_tiles_32_min_4,
     multiply_tiles_32_min_5, multiply_tiles_32_min_6},
};

RZ_INLINE void gemm_32(gemm_32_format format, RZ_MATMUL_PARAMS)
{
    size_t bytes = sizeof(token_block_32), n_blocks = k / 32, most = panel_tokens(k, n_blocks, bytes);
    char *panels = (char *)scratch + rz_tile_bytes(k);
    for (size_t t0 = 0; t0 < n; t0 += most) {
        size_t n_here = n - t0 < most ? n - t0 : most;
        fill_panels_32((const char *)x + t0 * x_stride, x_stride, k, n_here, format.bias_bits, panels);
        for (size_t r = r0; r < r1; r += STEP_ROWS) {
            tile_32 tiles[2];
            for (size_t i = 0; i < 2; i++)
                unpack_tile_32(format, w, w_stride, k, r + 16 * i, r1, (char *)scratch + i * 20 * k, &tiles[i]);
            for (size_t step = 0; step < n_token_steps(n_here); step++) {
                size_t t = first_of_step(n_here, step), n_step = first_of_step(n_here, step + 1) - t;
                multiply_tiles_32_of[format.has_min][n_step](tiles, n_blocks, panel_at(panels, step, n_blocks, bytes),
                                                             y + (t0 + t) * ldy + r, ldy);
            }
        }
    }
}

#endif
