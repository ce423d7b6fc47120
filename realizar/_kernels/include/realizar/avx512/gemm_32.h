/* GEMM of the 32-element formats: two tiles of sixteen unpacked rows against six tokens at a time, or one tile against
 * twelve; 24 of the 32 registers are sums.
 *
 *     tile    q [k / 4][16 rows][4]   u8      every block: 8 steps of  isum[t] += q . x[t]   (vpdpbusd, x broadcast)
 *             d [k / 32][16 rows]     float   then                     acc[t] += float(isum[t]) * (d * dx[t])
 *             m [k / 32][16 rows]     float   and with a minimum       acc[t] += m * (dx[t] * sum[t])
 */
#ifndef REALIZAR_AVX512_GEMM_32_H
#define REALIZAR_AVX512_GEMM_32_H

#include "realizar/avx512/tile.h"

/* bias_bits: log2 of the bias that the unsigned elements count from; 0: none. */
typedef struct {
    unpack_64_fn *unpack_64;
    int block_bytes, bias_bits, has_min;
} gemm_32_format;

/* Most tokens, and blocks of them, that are prepared at a time. */
enum { GEMM_TOKENS = 12, GEMM_CHUNK = 32 };

typedef struct {
    char *q;
    float *d, *m;
    __mmask16 there; /* rows that exist */
} tile_32;

/* What the tokens bring beside their q, for up to GEMM_CHUNK blocks. */
typedef struct {
    int32_t start[GEMM_TOKENS][GEMM_CHUNK]; /* - bias * sum */
    float d[GEMM_TOKENS][GEMM_CHUNK], d_sum[GEMM_TOKENS][GEMM_CHUNK];
} chunk_32;

RZ_INLINE void unpack_tile_32(gemm_32_format format, const tile_rows *rows, size_t k, const tile_32 *tile)
{
    unpack_tile(format.unpack_64, (size_t)format.block_bytes, rows, k, tile->q);
    for (size_t b = 0; b < k / 32; b++) {
        __m512i scales = gather_dwords(rows, b * (size_t)format.block_bytes);
        _mm512_store_ps(tile->d + b * 16, low_halves_f32(scales));
        if (format.has_min) _mm512_store_ps(tile->m + b * 16, low_halves_f32(_mm512_srli_epi32(scales, 16)));
    }
}

static void fill_chunk_32(chunk_32 *chunk, const char *x, size_t x_stride, size_t k, size_t block, size_t n_blocks,
                          int n_tokens, int bias_bits)
{
    for (int t = 0; t < n_tokens; t++, x += x_stride) {
        const float *d = (const float *)(x + rz_act_d_offset(k)) + block;
        const int16_t *s = (const int16_t *)(x + rz_act_s_offset(k, 32)) + block;
        for (size_t b = 0; b < n_blocks; b += 16) {
            __mmask16 there = (__mmask16)(n_blocks - b >= 16 ? 0xffff : (1u << (n_blocks - b)) - 1);
            __m512i sum = _mm512_cvtepi16_epi32(_mm256_maskz_loadu_epi16(there, s + b));
            __m512 dx = _mm512_maskz_loadu_ps(there, d + b);
            __m512i start = bias_bits ? _mm512_slli_epi32(sum, (unsigned)bias_bits) : _mm512_setzero_si512();
            _mm512_storeu_si512(&chunk->start[t][b], _mm512_sub_epi32(_mm512_setzero_si512(), start));
            _mm512_storeu_ps(&chunk->d[t][b], dx);
            _mm512_storeu_ps(&chunk->d_sum[t][b], _mm512_mul_ps(dx, _mm512_cvtepi32_ps(sum)));
        }
    }
}

/* Adds n_blocks blocks of one or two tiles, from their block on, to acc[tile][t] of n_tokens tokens. x: their q at that
 * block. Two tiles share each broadcast of x: loads would bound the loop otherwise. */
RZ_INLINE void multiply_chunk_32(const tile_32 *tiles, int n_tiles, size_t block, size_t n_blocks, const char *x,
                                 size_t x_stride, const chunk_32 *chunk, int n_tokens, int has_min,
                                 __m512 (*acc)[GEMM_TOKENS])
{
    for (size_t b = 0; b < n_blocks; b++, x += 32) {
        __m512i isum[2][GEMM_TOKENS];
#pragma GCC unroll 12
        for (int t = 0; t < n_tokens; t++)
            for (int i = 0; i < n_tiles; i++) isum[i][t] = _mm512_set1_epi32(chunk->start[t][b]);
#pragma GCC unroll 8
        for (int step = 0; step < 8; step++) {
            __m512i w_u8x64[2];
            for (int i = 0; i < n_tiles; i++)
                w_u8x64[i] = _mm512_load_si512(tiles[i].q + (block + b) * 512 + 64 * step);
#pragma GCC unroll 12
            for (int t = 0; t < n_tokens; t++) {
                __m512i x_s8x64 = broadcast_4(x + (size_t)t * x_stride + 4 * step);
                for (int i = 0; i < n_tiles; i++) isum[i][t] = _mm512_dpbusd_epi32(isum[i][t], w_u8x64[i], x_s8x64);
            }
        }
#pragma GCC unroll 12
        for (int t = 0; t < n_tokens; t++) {
            __m512 dx = _mm512_set1_ps(chunk->d[t][b]), dx_sum = _mm512_set1_ps(chunk->d_sum[t][b]);
            for (int i = 0; i < n_tiles; i++) {
                __m512 scale = _mm512_mul_ps(_mm512_load_ps(tiles[i].d + (block + b) * 16), dx);
                acc[i][t] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(isum[i][t]), scale, acc[i][t]);
                if (has_min)
                    acc[i][t] = _mm512_fmadd_ps(_mm512_load_ps(tiles[i].m + (block + b) * 16), dx_sum, acc[i][t]);
            }
        }
    }
}

/* One or two whole tiles against n_tokens tokens; y: of the first row. */
RZ_INLINE void multiply_tiles_32(const tile_32 *tiles, int n_tiles, size_t k, const char *x, size_t x_stride,
                                 int n_tokens, int bias_bits, int has_min, float *y, size_t ldy)
{
    chunk_32 chunk;
    __m512 acc[2][GEMM_TOKENS];
    for (int i = 0; i < n_tiles; i++)
        for (int t = 0; t < n_tokens; t++) acc[i][t] = _mm512_setzero_ps();
    for (size_t block = 0; block < k / 32; block += GEMM_CHUNK) {
        size_t n_blocks = k / 32 - block < GEMM_CHUNK ? k / 32 - block : GEMM_CHUNK;
        fill_chunk_32(&chunk, x, x_stride, k, block, n_blocks, n_tokens, bias_bits);
        multiply_chunk_32(tiles, n_tiles, block, n_blocks, x + block * 32, x_stride, &chunk, n_tokens, has_min, acc);
    }
    for (int t = 0; t < n_tokens; t++)
        for (int i = 0; i < n_tiles; i++)
            _mm512_mask_storeu_ps(y + (size_t)t * ldy + 16 * i, tiles[i].there, acc[i][t]);
}

typedef void multiply_tiles_32_fn(const tile_32 *tiles, size_t k, const char *x, size_t x_stride, int bias_bits,
                                  int has_min, float *y, size_t ldy);

#define MULTIPLY_TILES_32(n_tiles, n_tokens)                                                                           \
    static void multiply_tiles_32_##n_tiles##x##n_tokens(const tile_32 *tiles, size_t k, const char *x,                \
                                                         size_t x_stride, int bias_bits, int has_min, float *y,        \
                                                         size_t ldy)                                                   \
    {                                                                                                                  \
        if (has_min)                                                                                                   \
            multiply_tiles_32(tiles, n_tiles, k, x, x_stride, n_tokens, bias_bits, 1, y, ldy);                         \
        else                                                                                                           \
            multiply_tiles_32(tiles, n_tiles, k, x, x_stride, n_tokens, bias_bits, 0, y, ldy);                         \
    }
MULTIPLY_TILES_32(1, 12)
MULTIPLY_TILES_32(1, 4)
MULTIPLY_TILES_32(1, 1)
MULTIPLY_TILES_32(2, 6)
MULTIPLY_TILES_32(2, 1)

/* The tokens in steps of as many as there are registers for, then fewer. */
static void multiply_all_tokens_32(const tile_32 *tiles, int n_tiles, size_t k, const char *x, size_t x_stride,
                                   size_t n, int bias_bits, int has_min, float *y, size_t ldy)
{
    static const struct {
        size_t n_tokens;
        multiply_tiles_32_fn *multiply;
    } one[] = {{12, multiply_tiles_32_1x12}, {4, multiply_tiles_32_1x4}, {1, multiply_tiles_32_1x1}},
      two[] = {{6, multiply_tiles_32_2x6}, {1, multiply_tiles_32_2x1}};
    for (size_t t = 0, i = 0; t < n;) {
        size_t step = n_tiles == 1 ? one[i].n_tokens : two[i].n_tokens;
        if (n - t < step) {
            i++;
            continue;
        }
        multiply_tiles_32_fn *multiply = n_tiles == 1 ? one[i].multiply : two[i].multiply;
        multiply(tiles, k, x + t * x_stride, x_stride, bias_bits, has_min, y + t * ldy, ldy);
        t += step;
    }
}

RZ_INLINE void gemm_32(gemm_32_format format, RZ_MATMUL_PARAMS)
{
    for (size_t r = r0; r < r1; r += 32) {
        tile_32 tiles[2];
        int n_tiles = r1 - r > 16 ? 2 : 1;
        for (int i = 0; i < n_tiles; i++) {
            char *room = (char *)scratch + (size_t)i * 20 * k;
            tile_rows rows = tile_rows_at(w, w_stride, r + 16 * (size_t)i, r1);
            tiles[i] =
                (tile_32){room, (float *)(room + 16 * k), (float *)(room + 18 * k), (__mmask16)((1u << rows.n) - 1)};
            unpack_tile_32(format, &rows, k, &tiles[i]);
        }
        multiply_all_tokens_32(tiles, n_tiles, k, x, x_stride, n, format.bias_bits, format.has_min, y + r, ldy);
    }
}

#endif
