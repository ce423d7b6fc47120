/* GEMM of the K formats: a tile of sixteen unpacked rows against twelve tokens at a time.
 *
 *     tile    q [k / 4][16 rows][4]         u8 that count from bias
 *     scales  [k / 256][16][16 rows]        a dword a row: pairs of neighbouring scales, pairs of minima, d and dmin
 *
 * isum = sum of scale * (q - bias) * x. It is found a group at a time: vpdpbusd over its elements, then the scale. The
 * group of a token starts from - center * sum(x) where that makes its result fit in 16 bits: then vpdpwssd applies the
 * scale in one step. What is missing, (center - bias) * sum of scale * sum(x), is added at the end. */
#ifndef REALIZAR_AVX512_GEMM_256_H
#define REALIZAR_AVX512_GEMM_256_H

#include "realizar/avx512/tile.h"

/* Sixteen dwords of one block: pairs of its n_scale scales as words, pairs of minima from MINS_AT on, and d (lower half)
 * and dmin in the last. */
typedef __m512i scale_dwords_fn(const char *block);
enum { MINS_AT = 4, D_AT = 15 };

typedef struct {
    unpack_64_fn *unpack_64;
    scale_dwords_fn *scale_dwords;
    int block_bytes;
    int n_scale;     /* scales a block: 8, or 16 */
    int group;       /* elements summed before they are scaled: 16 or 32 */
    int center_bits; /* log2 of center; 0: none, the group's sum may need more than 16 bits */
    int bias_bits;   /* log2 of bias; 0: none */
    int has_min;
} gemm_256_format;

enum { GEMM_256_TOKENS = 12 };

typedef struct {
    char *q;
    int32_t (*scales)[16][16];
} tile_256;

/* What the tokens bring beside their q, for one block. */
typedef struct {
    int32_t start[GEMM_256_TOKENS][16];    /* - center * sum of a group */
    int32_t sum_pairs[GEMM_256_TOKENS][8]; /* pairs of sums over the elements of a scale, as words */
    float d[GEMM_256_TOKENS];
} block_tokens;

RZ_INLINE void unpack_tile_256(gemm_256_format format, const tile_rows *rows, size_t k, const tile_256 *tile)
{
    size_t bytes = (size_t)format.block_bytes;
    unpack_tile(format.unpack_64, bytes, rows, k, tile->q);
    for (size_t b = 0; b < k / 256; b++) {
        __m512i v[16];
#pragma GCC unroll 16
        for (int r = 0; r < 16; r++) v[r] = format.scale_dwords(rows->row[r] + b * bytes);
        transpose_dwords(v);
#pragma GCC unroll 16
        for (int i = 0; i < 16; i++) _mm512_store_si512(tile->scales[b][i], v[i]);
    }
}

RZ_INLINE void fill_block_tokens(gemm_256_format format, const char *x, size_t x_stride, size_t k, size_t block,
                                 int n_tokens, block_tokens *out)
{
    for (int t = 0; t < n_tokens; t++, x += x_stride) {
        __m256i sum_16 = _mm256_loadu_si256((const __m256i *)(x + rz_act_s_offset(k, 256)) + block);
        __m256i sum_32 = _mm256_madd_epi16(sum_16, _mm256_set1_epi16(1));
        __m512i sum = format.group == 16 ? _mm512_cvtepi16_epi32(sum_16) : _mm512_castsi256_si512(sum_32);
        __m512i start = _mm512_sub_epi32(_mm512_setzero_si512(), _mm512_slli_epi32(sum, (unsigned)format.center_bits));
        _mm512_storeu_si512(out->start[t], start);
        __m256i pairs = format.n_scale == 16 ? sum_16 : _mm256_castsi128_si256(_mm256_cvtepi32_epi16(sum_32));
        _mm256_storeu_si256((__m256i *)out->sum_pairs[t], pairs);
        memcpy(&out->d[t], x + rz_act_d_offset(k) + block * sizeof(float), sizeof(float));
    }
}

/* Adds scale * (sum over one group) to isum[t] of each token. */
RZ_INLINE void multiply_group(gemm_256_format format, const char *q, __m512i scale, const char *x, size_t x_stride,
                              const int32_t (*start)[16], int n_tokens, __m512i *isum)
{
    __m512i part[GEMM_256_TOKENS];
#pragma GCC unroll 12
    for (int t = 0; t < n_tokens; t++)
        part[t] = format.center_bits ? _mm512_set1_epi32(start[t][0]) : _mm512_setzero_si512();
#pragma GCC unroll 8
    for (int i = 0; i < format.group / 4; i++) {
        __m512i w_u8x64 = _mm512_load_si512(q + 64 * i);
#pragma GCC unroll 12
        for (int t = 0; t < n_tokens; t++) {
            int32_t x_s8x4;
            memcpy(&x_s8x4, x + (size_t)t * x_stride + 4 * i, 4);
            part[t] = _mm512_dpbusd_epi32(part[t], w_u8x64, _mm512_set1_epi32(x_s8x4));
        }
    }
#pragma GCC unroll 12
    for (int t = 0; t < n_tokens; t++)
        isum[t] = format.center_bits ? _mm512_dpwssd_epi32(isum[t], part[t], scale)
                                     : _mm512_add_epi32(isum[t], _mm512_mullo_epi32(part[t], scale));
}

/* The lower (i even) or upper word of each pair, as vpdpwssd or vpmulld wants it. */
RZ_INLINE __m512i scale_of_pair(gemm_256_format format, __m512i pairs, int i)
{
    if (format.center_bits) return i ? _mm512_srli_epi32(pairs, 16) : _mm512_and_si512(pairs, _mm512_set1_epi32(0xffff));
    return _mm512_srai_epi32(i ? pairs : _mm512_slli_epi32(pairs, 16), 16);
}

/* Sum over the scales (or minima) of scale * sum(x), from pairs of both. */
RZ_INLINE __m512i dot_pairs(const int32_t (*pairs)[16], const int32_t *sum_pairs, int n_pair)
{
    __m512i sum = _mm512_setzero_si512();
    for (int p = 0; p < n_pair; p++)
        sum = _mm512_dpwssd_epi32(sum, _mm512_load_si512(pairs[p]), _mm512_set1_epi32(sum_pairs[p]));
    return sum;
}

/* Adds one block to acc[t] of n_tokens tokens. x: their q at that block. */
RZ_INLINE void multiply_block_256(gemm_256_format format, const char *q, const int32_t (*scales)[16], const char *x,
                                  size_t x_stride, const block_tokens *tokens, int n_tokens, float (*acc)[16])
{
    int n_pair = format.n_scale / 2, groups = 256 / format.n_scale / format.group;
    __m512i isum[GEMM_256_TOKENS];
#pragma GCC unroll 12
    for (int t = 0; t < n_tokens; t++) isum[t] = _mm512_setzero_si512();
    for (int p = 0, g = 0; p < n_pair; p++) {
        __m512i pairs = _mm512_load_si512(scales[p]);
#pragma GCC unroll 4
        for (int i = 0; i < 2 * groups; i++, g++)
            multiply_group(format, q + 16 * g * format.group, scale_of_pair(format, pairs, i / groups),
                           x + g * format.group, x_stride, (const int32_t(*)[16])&tokens->start[0][g], n_tokens, isum);
    }
    __m512 d = low_halves_f32(_mm512_load_si512(scales[D_AT]));
    __m512 dmin = low_halves_f32(_mm512_srli_epi32(_mm512_load_si512(scales[D_AT]), 16));
    for (int t = 0; t < n_tokens; t++) {
        __m512i more = dot_pairs(scales, tokens->sum_pairs[t], n_pair);
        __m512i all = format.bias_bits ? _mm512_sub_epi32(isum[t], _mm512_slli_epi32(more, (unsigned)format.bias_bits))
                                       : _mm512_add_epi32(isum[t], _mm512_slli_epi32(more, (unsigned)format.center_bits));
        __m512 dx = _mm512_set1_ps(tokens->d[t]), sum = _mm512_load_ps(acc[t]);
        sum = _mm512_fmadd_ps(_mm512_cvtepi32_ps(all), _mm512_mul_ps(d, dx), sum);
        if (format.has_min) {
            __m512 xsum = _mm512_cvtepi32_ps(dot_pairs(scales + MINS_AT, tokens->sum_pairs[t], n_pair));
            sum = _mm512_fnmadd_ps(_mm512_mul_ps(dmin, dx), xsum, sum);
        }
        _mm512_store_ps(acc[t], sum);
    }
}

/* The whole tile against n_tokens tokens. */
RZ_INLINE void multiply_tile_256(gemm_256_format format, const tile_256 *tile, size_t k, const char *x, size_t x_stride,
                                 int n_tokens, float *y, size_t ldy, __mmask16 rows)
{
    block_tokens tokens;
    float acc[GEMM_256_TOKENS][16] __attribute__((aligned(64))) = {{0}};
    for (size_t b = 0; b < k / 256; b++) {
        fill_block_tokens(format, x, x_stride, k, b, n_tokens, &tokens);
        multiply_block_256(format, tile->q + b * 4096, (const int32_t(*)[16])tile->scales[b], x + b * 256, x_stride,
                           &tokens, n_tokens, acc);
    }
    for (int t = 0; t < n_tokens; t++) _mm512_mask_storeu_ps(y + (size_t)t * ldy, rows, _mm512_load_ps(acc[t]));
}

RZ_INLINE void gemm_256(gemm_256_format format, RZ_MATMUL_PARAMS)
{
    tile_256 tile = {.q = scratch, .scales = (int32_t(*)[16][16])((char *)scratch + 16 * k)};
    for (size_t r = r0; r < r1; r += 16) {
        tile_rows rows = tile_rows_at(w, w_stride, r, r1);
        __mmask16 there = (__mmask16)((1u << rows.n) - 1);
        unpack_tile_256(format, &rows, k, &tile);
        size_t t = 0;
        for (; t + 12 <= n; t += 12)
            multiply_tile_256(format, &tile, k, (const char *)x + t * x_stride, x_stride, 12, y + t * ldy + r, ldy, there);
        for (; t + 4 <= n; t += 4)
            multiply_tile_256(format, &tile, k, (const char *)x + t * x_stride, x_stride, 4, y + t * ldy + r, ldy, there);
        for (; t < n; t++)
            multiply_tile_256(format, &tile, k, (const char *)x + t * x_stride, x_stride, 1, y + t * ldy + r, ldy, there);
    }
}

#endif
