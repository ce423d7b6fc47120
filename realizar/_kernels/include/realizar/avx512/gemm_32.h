/* GEMM of the 32-element formats: a tile of sixteen unpacked rows against twelve tokens at a time.
 *
 *     tile    q [k / 4][16 rows][4]   u8      every block: 8 steps of  isum[t] += q . x[t]   (vpdpbusd, x broadcast)
 *             d [k / 32][16 rows]     float   then                     acc[t] += float(isum[t]) * (d * dx[t])
 *             m [k / 32][16 rows]     float   and with a minimum       acc[t] += m * (dx[t] * sum[t])
 */
#ifndef REALIZAR_AVX512_GEMM_32_H
#define REALIZAR_AVX512_GEMM_32_H

#include "realizar/avx512/tile.h"

/* bias: what the unsigned elements count from. d_m: dword r: d of row r's block (lower half), and m. */
typedef struct {
    unpack_64_fn *unpack_64;
    int block_bytes, bias_bits, has_min;
} gemm_32_format;

enum { GEMM_TOKENS = 12, GEMM_CHUNK = 32 };

typedef struct {
    char *q;
    float *d, *m;
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

/* Adds n_blocks blocks of the tile, from its block on, to acc[t] of n_tokens tokens. x: their q at that block. */
RZ_INLINE void multiply_chunk_32(const tile_32 *tile, size_t block, size_t n_blocks, const char *x, size_t x_stride,
                                 const chunk_32 *chunk, int n_tokens, int has_min, __m512 *acc)
{
    const char *q = tile->q + block * 512;
    for (size_t b = 0; b < n_blocks; b++, q += 512, x += 32) {
        __m512i isum[GEMM_TOKENS];
#pragma GCC unroll 12
        for (int t = 0; t < n_tokens; t++) isum[t] = _mm512_set1_epi32(chunk->start[t][b]);
#pragma GCC unroll 8
        for (int i = 0; i < 8; i++) {
            __m512i w_u8x64 = _mm512_load_si512(q + 64 * i);
#pragma GCC unroll 12
            for (int t = 0; t < n_tokens; t++) {
                int32_t x_s8x4;
                memcpy(&x_s8x4, x + (size_t)t * x_stride + 4 * i, 4);
                isum[t] = _mm512_dpbusd_epi32(isum[t], w_u8x64, _mm512_set1_epi32(x_s8x4));
            }
        }
        __m512 d = _mm512_load_ps(tile->d + (block + b) * 16);
        __m512 m = has_min ? _mm512_load_ps(tile->m + (block + b) * 16) : d;
#pragma GCC unroll 12
        for (int t = 0; t < n_tokens; t++) {
            __m512 scale = _mm512_mul_ps(d, _mm512_set1_ps(chunk->d[t][b]));
            acc[t] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(isum[t]), scale, acc[t]);
            if (has_min) acc[t] = _mm512_fmadd_ps(m, _mm512_set1_ps(chunk->d_sum[t][b]), acc[t]);
        }
    }
}

/* The whole tile against n_tokens tokens. */
RZ_INLINE void multiply_tile_32(const tile_32 *tile, size_t k, const char *x, size_t x_stride, int n_tokens,
                                int bias_bits, int has_min, float *y, size_t ldy, __mmask16 rows)
{
    chunk_32 chunk;
    __m512 acc[GEMM_TOKENS];
    for (int t = 0; t < n_tokens; t++) acc[t] = _mm512_setzero_ps();
    for (size_t block = 0; block < k / 32; block += GEMM_CHUNK) {
        size_t n_blocks = k / 32 - block < GEMM_CHUNK ? k / 32 - block : GEMM_CHUNK;
        fill_chunk_32(&chunk, x, x_stride, k, block, n_blocks, n_tokens, bias_bits);
        multiply_chunk_32(tile, block, n_blocks, x + block * 32, x_stride, &chunk, n_tokens, has_min, acc);
    }
    for (int t = 0; t < n_tokens; t++) _mm512_mask_storeu_ps(y + (size_t)t * ldy, rows, acc[t]);
}

#define MULTIPLY_TILE_32(n_tokens)                                                                                     \
    static void multiply_tile_32_##n_tokens(const tile_32 *tile, size_t k, const char *x, size_t x_stride,             \
                                            int bias_bits, int has_min, float *y, size_t ldy, __mmask16 rows)          \
    {                                                                                                                  \
        if (has_min) multiply_tile_32(tile, k, x, x_stride, n_tokens, bias_bits, 1, y, ldy, rows);                     \
        else multiply_tile_32(tile, k, x, x_stride, n_tokens, bias_bits, 0, y, ldy, rows);                             \
    }
MULTIPLY_TILE_32(12)
MULTIPLY_TILE_32(4)
MULTIPLY_TILE_32(1)

RZ_INLINE void gemm_32(gemm_32_format format, RZ_MATMUL_PARAMS)
{
    tile_32 tile = {.q = scratch, .d = (float *)((char *)scratch + 16 * k), .m = (float *)((char *)scratch + 18 * k)};
    for (size_t r = r0; r < r1; r += 16) {
        tile_rows rows = tile_rows_at(w, w_stride, r, r1);
        __mmask16 there = (__mmask16)((1u << rows.n) - 1);
        unpack_tile_32(format, &rows, k, &tile);
        for (size_t t = 0; t < n;) {
            const char *xt = (const char *)x + t * x_stride;
            size_t step = n - t >= 12 ? 12 : n - t >= 4 ? 4 : 1;
            (step == 12 ? multiply_tile_32_12 : step == 4 ? multiply_tile_32_4 : multiply_tile_32_1)(
                &tile, k, xt, x_stride, format.bias_bits, format.has_min, y + t * ldy + r, ldy, there);
            t += step;
        }
    }
}

#endif
