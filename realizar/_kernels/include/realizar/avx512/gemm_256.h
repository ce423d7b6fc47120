/* GEMM of the K formats: two tiles of sixteen unpacked rows against six tokens at a time, or one tile against twelve.
 *
 *     tile    q [k / 4][16 rows][4]         u8 that count from bias
 *     scales  [k / 256][16][16 rows]        a dword a row: pairs of neighbouring scales, pairs of minima, d and dmin
 *
 * isum = sum of scale * (q - bias) * x. It is found a group at a time: vpdpbusd over its elements, then the scale. The
 * group of a token starts from - center * sum(x) where that makes its result fit in 16 bits: then vpdpwssd applies the
 * scale in one step. What is missing, (center - bias) * sum of scale * sum(x), is added at the end.
 *
 * Where scale * (q - bias) fits in a byte, as in Q2_K and Q3_K, the unpacked elements are center + that, and the whole
 * block is one group without a scale. */
#ifndef REALIZAR_AVX512_GEMM_256_H
#define REALIZAR_AVX512_GEMM_256_H

#include "realizar/avx512/tile.h"

/* Sixteen dwords of one block: pairs of its n_scale scales as words, behind them pairs of its n_min minima, and d (lower
 * half) and dmin in the last. */
typedef __m512i scale_dwords_fn(const char *block);
enum { D_AT = 15 };

typedef struct {
    unpack_64_fn *unpack_64;
    scale_dwords_fn *scale_dwords;
    int block_bytes;
    int n_scale; /* scales a block: 8 or 16; 0: they are in the elements */
    int group;   /* elements summed before they are scaled: 16 or 32; 256: they are not */
    int center;  /* 0: the group's sum may need more than 16 bits */
    int bias;
    int n_min; /* minima a block: 0, 8 or 16 */
} gemm_256_format;

enum { GEMM_256_TOKENS = 12 };

typedef struct {
    char *q;
    int32_t (*scales)[16][16];
    __mmask16 there; /* rows that exist */
} tile_256;

/* What the tokens bring beside their q, for one block. */
typedef struct {
    int32_t start[GEMM_256_TOKENS][16];    /* - center * sum of a group */
    int32_t sum_pairs[GEMM_256_TOKENS][8]; /* pairs of sums over the elements of a scale or minimum, as words */
    float d[GEMM_256_TOKENS];
} block_tokens;

RZ_INLINE void unpack_scales_256(gemm_256_format format, const tile_rows *rows, size_t k, int32_t (*scales)[16][16])
{
    size_t bytes = (size_t)format.block_bytes;
    for (size_t b = 0; b < k / 256; b++) {
        __m512i v[16];
#pragma GCC unroll 16
        for (int r = 0; r < 16; r++) v[r] = format.scale_dwords(rows->row[r] + b * bytes);
        transpose_dwords(v);
#pragma GCC unroll 16
        for (int i = 0; i < 16; i++) _mm512_store_si512(scales[b][i], v[i]);
    }
}

/* Not inlined: its loop over the tokens is to stay one. */
static __attribute__((noinline)) void fill_block_tokens(const gemm_256_format *format, const char *x, size_t x_stride,
                                                        size_t k, size_t block, int n_tokens, block_tokens *out)
{
    for (int t = 0; t < n_tokens; t++, x += x_stride) {
        __m256i sum_16 = _mm256_loadu_si256((const __m256i *)(x + rz_act_s_offset(k, 256)) + block);
        __m256i sum_32 = _mm256_madd_epi16(sum_16, _mm256_set1_epi16(1));
        __m512i sum = format->group == 16 ? _mm512_cvtepi16_epi32(sum_16) : _mm512_zextsi256_si512(sum_32);
        if (format->group == 256) sum = _mm512_set1_epi32(_mm512_reduce_add_epi32(sum));
        _mm512_storeu_si512(out->start[t], _mm512_mullo_epi32(sum, _mm512_set1_epi32(-format->center)));
        __m256i pairs = format->n_scale == 16 || format->n_min == 16
                            ? sum_16
                            : _mm256_castsi128_si256(_mm256_cvtepi32_epi16(sum_32));
        _mm256_storeu_si256((__m256i *)out->sum_pairs[t], pairs);
        memcpy(&out->d[t], x + rz_act_d_offset(k) + block * sizeof(float), sizeof(float));
    }
}

/* The q of one block, brought together: at constant distances the products need no register per token. */
static __attribute__((noinline)) void copy_block_q(const char *x, size_t x_stride, int n_tokens, char (*q)[256])
{
    for (int t = 0; t < n_tokens; t++, x += x_stride)
        for (int i = 0; i < 256; i += 64) _mm512_store_si512(q[t] + i, _mm512_loadu_si512(x + i));
}

/* The lower (second 0) or upper word of each pair, as vpdpwssd or vpmulld wants it. */
RZ_INLINE __m512i scale_of_pair(gemm_256_format format, __m512i pairs, int second)
{
    if (format.center)
        return second ? _mm512_srli_epi32(pairs, 16) : _mm512_and_si512(pairs, _mm512_set1_epi32(0xffff));
    return _mm512_srai_epi32(second ? pairs : _mm512_slli_epi32(pairs, 16), 16);
}

/* Group g of a block: adds scale * (sum over its elements) to isum[tile][t]; without scales, that sum is isum. Two tiles
 * share each broadcast of x: loads would bound the loop otherwise. */
RZ_INLINE void multiply_group(gemm_256_format format, const tile_256 *tiles, int n_tiles, size_t block, int g,
                              const char (*x)[256], const block_tokens *tokens, int n_tokens,
                              __m512i (*isum)[GEMM_256_TOKENS])
{
    int at = g * format.group;
    __m512i part[2][GEMM_256_TOKENS];
#pragma GCC unroll 12
    for (int t = 0; t < n_tokens; t++)
        for (int i = 0; i < n_tiles; i++)
            part[i][t] = format.center ? _mm512_set1_epi32(tokens->start[t][g]) : _mm512_setzero_si512();
#pragma GCC unroll 8
    for (int step = 0; step < format.group / 4; step++) {
        __m512i w_u8x64[2];
        for (int i = 0; i < n_tiles; i++)
            w_u8x64[i] = _mm512_load_si512(tiles[i].q + block * 4096 + 16 * (size_t)at + 64 * (size_t)step);
#pragma GCC unroll 12
        for (int t = 0; t < n_tokens; t++) {
            __m512i x_s8x64 = broadcast_4(x[t] + at + 4 * step);
            for (int i = 0; i < n_tiles; i++) part[i][t] = _mm512_dpbusd_epi32(part[i][t], w_u8x64[i], x_s8x64);
        }
    }
    if (!format.n_scale) {
        for (int t = 0; t < n_tokens; t++)
            for (int i = 0; i < n_tiles; i++) isum[i][t] = part[i][t];
        return;
    }
    int scale = at / (256 / format.n_scale);
    for (int i = 0; i < n_tiles; i++) {
        __m512i factor = scale_of_pair(format, _mm512_load_si512(tiles[i].scales[block][scale / 2]), scale % 2);
#pragma GCC unroll 12
        for (int t = 0; t < n_tokens; t++)
            isum[i][t] = format.center ? _mm512_dpwssd_epi32(isum[i][t], part[i][t], factor)
                                       : _mm512_add_epi32(isum[i][t], _mm512_mullo_epi32(part[i][t], factor));
    }
}

/* Sum over the scales (or minima) of scale * sum(x), from pairs of both. */
RZ_INLINE __m512i dot_pairs(const __m512i *pairs, const int32_t *sum_pairs, int n_pair)
{
    __m512i sum = _mm512_setzero_si512();
#pragma GCC unroll 8
    for (int p = 0; p < n_pair; p++) sum = _mm512_dpwssd_epi32(sum, pairs[p], _mm512_set1_epi32(sum_pairs[p]));
    return sum;
}

/* The end of a block: the missing part of isum, then acc[t] + d dx isum (- dmin dx xsum). */
RZ_INLINE void finish_block_256(gemm_256_format format, const __m512i *isum, const int32_t (*scales)[16],
                                const block_tokens *tokens, int n_tokens, float (*acc)[16])
{
    const int n_scale_pair = format.n_scale / 2, n_min_pair = format.n_min / 2;
    __m512i dwords = _mm512_load_si512(scales[D_AT]), scale_pairs[8], min_pairs[8];
    __m512 d = low_halves_f32(dwords), dmin = low_halves_f32(_mm512_srli_epi32(dwords, 16));
#pragma GCC unroll 8
    for (int p = 0; p < n_scale_pair; p++) scale_pairs[p] = _mm512_load_si512(scales[p]);
#pragma GCC unroll 8
    for (int p = 0; p < n_min_pair; p++) min_pairs[p] = _mm512_load_si512(scales[n_scale_pair + p]);
#pragma GCC unroll 12
    for (int t = 0; t < n_tokens; t++) {
        __m512i more = dot_pairs(scale_pairs, tokens->sum_pairs[t], n_scale_pair);
        __m512i all =
            _mm512_add_epi32(isum[t], _mm512_mullo_epi32(more, _mm512_set1_epi32(format.center - format.bias)));
        __m512 dx = _mm512_set1_ps(tokens->d[t]), sum = _mm512_load_ps(acc[t]);
        sum = _mm512_fmadd_ps(_mm512_cvtepi32_ps(all), _mm512_mul_ps(d, dx), sum);
        if (format.n_min) {
            __m512 xsum = _mm512_cvtepi32_ps(dot_pairs(min_pairs, tokens->sum_pairs[t], n_min_pair));
            sum = _mm512_fnmadd_ps(_mm512_mul_ps(dmin, dx), xsum, sum);
        }
        _mm512_store_ps(acc[t], sum);
    }
}

/* One or two whole tiles against n_tokens tokens; y: of the first row. */
RZ_INLINE void multiply_tiles_256(gemm_256_format format, const tile_256 *tiles, int n_tiles, size_t k, const char *x,
                                  size_t x_stride, int n_tokens, float *y, size_t ldy)
{
    block_tokens tokens;
    char q[GEMM_256_TOKENS][256] __attribute__((aligned(64)));
    float acc[2][GEMM_256_TOKENS][16] __attribute__((aligned(64))) = {{{0}}};
    for (size_t b = 0; b < k / 256; b++) {
        __m512i isum[2][GEMM_256_TOKENS];
        fill_block_tokens(&format, x, x_stride, k, b, n_tokens, &tokens);
        copy_block_q(x + b * 256, x_stride, n_tokens, q);
        for (int i = 0; i < n_tiles; i++)
            for (int t = 0; t < n_tokens; t++) isum[i][t] = _mm512_setzero_si512();
#pragma GCC unroll 2
        for (int g = 0; g < 256 / format.group; g++)
            multiply_group(format, tiles, n_tiles, b, g, (const char (*)[256])q, &tokens, n_tokens, isum);
        for (int i = 0; i < n_tiles; i++)
            finish_block_256(format, isum[i], (const int32_t (*)[16])tiles[i].scales[b], &tokens, n_tokens, acc[i]);
    }
    for (int t = 0; t < n_tokens; t++)
        for (int i = 0; i < n_tiles; i++)
            _mm512_mask_storeu_ps(y + (size_t)t * ldy + 16 * i, tiles[i].there, _mm512_load_ps(acc[i][t]));
}

/* The tokens in steps of as many as there are registers for, then one by one. */
RZ_INLINE void multiply_all_tokens_256(gemm_256_format format, const tile_256 *tiles, int n_tiles, int step, size_t k,
                                       const char *x, size_t x_stride, size_t n, float *y, size_t ldy)
{
    size_t t = 0;
    for (; t + (size_t)step <= n; t += (size_t)step)
        multiply_tiles_256(format, tiles, n_tiles, k, x + t * x_stride, x_stride, step, y + t * ldy, ldy);
    for (; t < n; t++) multiply_tiles_256(format, tiles, n_tiles, k, x + t * x_stride, x_stride, 1, y + t * ldy, ldy);
}

RZ_INLINE void gemm_256(gemm_256_format format, RZ_MATMUL_PARAMS)
{
    for (size_t r = r0; r < r1; r += 32) {
        tile_256 tiles[2];
        int n_tiles = r1 - r > 16 ? 2 : 1;
        for (int i = 0; i < n_tiles; i++) {
            char *room = (char *)scratch + (size_t)i * 20 * k;
            tile_rows rows = tile_rows_at(w, w_stride, r + 16 * (size_t)i, r1);
            tiles[i] = (tile_256){room, (int32_t (*)[16][16])(room + 16 * k), (__mmask16)((1u << rows.n) - 1)};
            unpack_tile(format.unpack_64, (size_t)format.block_bytes, &rows, k, tiles[i].q);
            unpack_scales_256(format, &rows, k, tiles[i].scales);
        }
        if (n_tiles == 2)
            multiply_all_tokens_256(format, tiles, 2, 6, k, x, x_stride, n, y + r, ldy);
        else
            multiply_all_tokens_256(format, tiles, 1, 12, k, x, x_stride, n, y + r, ldy);
    }
}

#endif
