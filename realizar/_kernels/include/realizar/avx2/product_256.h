/* The products of the K formats (GEMV and GEMM), eight rows at a time; vpmaddwd applies the scales of sub-blocks to
 * 16-bit sums.
 *
 * Elements are offset by a bias: isum = sum of scale * q * x - bias * sum of scale * sum(x). */
#ifndef REALIZAR_AVX2_PRODUCT_256_H
#define REALIZAR_AVX2_PRODUCT_256_H

#include "realizar/avx2/rows.h"
#include "realizar/scalar/codeword_bits.h"

/* Sixteen scales, one for each group of 16 elements, as words. */
typedef __m256i scale_words_fn(const char *block);

typedef struct {
    unpack_32_fn *unpack;
    scale_words_fn *scales, *mins; /* mins NULL: no minimum */
    byte_kind kind;
    int block_bytes, d_at, bias;
    int scale_elements; /* elements that share a scale: 16 or 32 */
    int d_bits;         /* log2 of the number by which d is divided */
} format_256;

/* d_at of IQ1_M, whose d is in the upper nibbles of four words. */
enum { D_IN_NIBBLES = -1 };

/* d of the blocks at offset of eight rows. */
RZ_INLINE __m256 d_of_rows(format_256 format, const char *const *rows, size_t offset)
{
    __m256 d;
    if (format.d_at == D_IN_NIBBLES) {
        uint16_t halves[8];
        for (int r = 0; r < 8; r++) halves[r] = iq1_m_d(rows[r] + offset);
        d = _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)halves));
    } else
        d = halves_of_rows(rows, offset + (size_t)format.d_at);
    return format.d_bits ? _mm256_mul_ps(d, _mm256_set1_ps(1.0f / (float)(1 << format.d_bits))) : d;
}

RZ_INLINE __m256 add_block_256(format_256 format, __m256i isum, __m256i xsum, __m256 d, __m256 m, float dx, __m256 acc)
{
    __m256 d_x = _mm256_set1_ps(dx);
    acc = _mm256_fmadd_ps(_mm256_cvtepi32_ps(isum), _mm256_mul_ps(d, d_x), acc);
    return format.mins ? _mm256_fnmadd_ps(_mm256_mul_ps(m, d_x), _mm256_cvtepi32_ps(xsum), acc) : acc;
}

/* Words 2 i and 2 i + 1, for 32 elements, in the order of the sums of vpmaddubsw. */
RZ_INLINE __m256i spread_scales(__m256i words, int i)
{
    __m256i lane = _mm256_permute4x64_epi64(words, 0x44);
    if (i >= 4) lane = _mm256_permute4x64_epi64(words, 0xee);
    int first = i % 4 * 4, second = first + 2;
    __m128i low = _mm_set1_epi16((short)(first | (first + 1) << 8));
    __m128i high = _mm_set1_epi16((short)(second | (second + 1) << 8));
    return _mm256_shuffle_epi8(lane, _mm256_set_m128i(high, low));
}

/* Eight partial sums of one block of a weight row with each of n input rows, one or two; q: their elements, a stride
 * apart. */
RZ_INLINE void dot_block_256(format_256 format, const char *block, const char *q, size_t stride, int n,
                             const __m256i *sums, __m256i *dot)
{
    __m256i scales = format.scales(block);
#pragma GCC unroll 2
    for (int t = 0; t < n; t++) dot[t] = _mm256_setzero_si256();
#pragma GCC unroll 8
    for (int i = 0; i < 8; i++) {
        __m256i w = format.unpack(block, (size_t)i), factors = spread_scales(scales, i);
#pragma GCC unroll 2
        for (int t = 0; t < n; t++) {
            __m256i x = _mm256_loadu_si256((const __m256i *)(q + (size_t)t * stride + 32 * i));
            dot[t] = add_scaled_words(dot[t], multiply_bytes(format.kind, w, x), factors);
        }
    }
    if (!format.bias) return;
#pragma GCC unroll 2
    for (int t = 0; t < n; t++) {
        __m256i offset = _mm256_mullo_epi32(_mm256_madd_epi16(scales, sums[t]), _mm256_set1_epi32(format.bias));
        dot[t] = _mm256_sub_epi32(dot[t], offset);
    }
}

/* Eight weight rows against n (one or two) input rows; each weight row prefetches. */
RZ_INLINE void dot_rows_256(format_256 format, const char *const *rows, size_t k, const char *x, size_t x_stride, int n,
                            __m256 *acc)
{
#pragma GCC unroll 2
    for (int t = 0; t < n; t++) acc[t] = _mm256_setzero_ps();
    for (size_t b = 0; b < k / 256; b++) {
        size_t at = b * (size_t)format.block_bytes;
        __m256i sums[2], dots[2][8], xsums[2][8];
#pragma GCC unroll 2
        for (int t = 0; t < n; t++)
            sums[t] = _mm256_loadu_si256((const __m256i *)(x + (size_t)t * x_stride + rz_act_s_offset(k, 256)) + b);
        for (int r = 0; r < 8; r++) {
            __m256i dot[2], mins = format.mins ? format.mins(rows[r] + at) : _mm256_setzero_si256();
            fetch_ahead(rows[r] + at, AHEAD, format.block_bytes);
            dot_block_256(format, rows[r] + at, x + 256 * b, x_stride, n, sums, dot);
#pragma GCC unroll 2
            for (int t = 0; t < n; t++) {
                dots[t][r] = dot[t];
                xsums[t][r] = format.mins ? _mm256_madd_epi16(mins, sums[t]) : dot[t];
            }
        }
        __m256 dw = d_of_rows(format, rows, at);
        __m256 m = format.mins ? halves_of_rows(rows, at + (size_t)format.d_at + 2) : dw;
#pragma GCC unroll 2
        for (int t = 0; t < n; t++) {
            const float *d = (const float *)(x + (size_t)t * x_stride + rz_act_d_offset(k));
            acc[t] = add_block_256(format, sum_each_i32(dots[t]), sum_each_i32(xsums[t]), dw, m, d[b], acc[t]);
        }
    }
}

/* n: input rows, one or two. */
RZ_INLINE void gemv_256(format_256 format, const void *w, size_t w_stride, size_t k, size_t r0, size_t r1,
                        const void *x, size_t x_stride, int n, float *y, size_t ldy)
{
    for (size_t step = 0; step < stream_steps(r0, r1, 8); step++) {
        eight_rows rows = eight_rows_of_streams(w, w_stride, r0, r1, step);
        __m256 dots[2];
        dot_rows_256(format, rows.row, k, x, x_stride, n, dots);
        store_rows(y, &rows, dots[0]);
        if (n > 1) store_rows(y + ldy, &rows, dots[1]);
    }
}

/* Eight unpacked rows: for each block, adjacent scales and minima as pairs of words, and d and dmin. */
typedef struct {
    __m256i scale_pairs[8], min_pairs[8];
    __m256 d, m;
} block_scales;

typedef struct {
    char *q;
    block_scales *scales;
} tile_256;

RZ_INLINE void unpack_tile_256(format_256 format, const eight_rows *rows, size_t k, const tile_256 *tile)
{
    unpack_rows(format.unpack, rows, k, tile->q);
    for (size_t b = 0; b < k / 256; b++) {
        size_t at = b * (size_t)format.block_bytes;
        block_scales *s = &tile->scales[b];
        for (int r = 0; r < 8; r++) s->scale_pairs[r] = format.scales(rows->row[r] + at);
        transpose_dwords(s->scale_pairs);
        s->d = d_of_rows(format, rows->row, at);
        if (!format.mins) continue;
        for (int r = 0; r < 8; r++) s->min_pairs[r] = format.mins(rows->row[r] + at);
        transpose_dwords(s->min_pairs);
        s->m = halves_of_rows(rows->row, at + (size_t)format.d_at + 2);
    }
}

/* The sum of scale (or minimum) * sum(x) over the groups. */
RZ_INLINE __m256i dot_pairs(const __m256i *pairs, const char *sums)
{
    __m256i dot = _mm256_setzero_si256();
    for (int p = 0; p < 8; p++) dot = _mm256_add_epi32(dot, _mm256_madd_epi16(pairs[p], broadcast_4(sums + 4 * p)));
    return dot;
}

/* The first or second scale of each pair, in both words. */
RZ_INLINE __m256i one_of_pair(__m256i pairs, int second)
{
    __m256i one = second ? _mm256_srli_epi32(pairs, 16) : _mm256_and_si256(pairs, _mm256_set1_epi32(0xffff));
    return _mm256_or_si256(one, _mm256_slli_epi32(one, 16));
}

/* The integer sums of one block, without the bias. */
RZ_INLINE void multiply_block_256(format_256 format, const char *q, const __m256i *scale_pairs, const char *x,
                                  size_t x_stride, int n_tokens, __m256i *isum)
{
#pragma GCC unroll 4
    for (int t = 0; t < n_tokens; t++) isum[t] = _mm256_setzero_si256();
    for (int p = 0; p < 8; p++, q += 256, x += 32) {
        if (format.scale_elements == 32) {
            multiply_steps(format.kind, q, 8, &scale_pairs[p], x, x_stride, n_tokens, isum);
        } else {
            __m256i first = one_of_pair(scale_pairs[p], 0), second = one_of_pair(scale_pairs[p], 1);
            multiply_steps(format.kind, q, 4, &first, x, x_stride, n_tokens, isum);
            multiply_steps(format.kind, q + 128, 4, &second, x + 16, x_stride, n_tokens, isum);
        }
    }
}

RZ_INLINE int bias_of_tile(format_256 format) { return format.bias + signed_bias(format.kind); }

RZ_INLINE void multiply_tile_256(format_256 format, const tile_256 *tile, size_t k, const char *x, size_t x_stride,
                                 int n_tokens, float *y, size_t ldy, __m256i rows)
{
    __m256 acc[4];
    for (int t = 0; t < n_tokens; t++) acc[t] = _mm256_setzero_ps();
    for (size_t b = 0; b < k / 256; b++) {
        const block_scales *s = &tile->scales[b];
        __m256i isum[4], xsum = _mm256_setzero_si256();
        multiply_block_256(format, tile->q + b * 2048, s->scale_pairs, x + b * 256, x_stride, n_tokens, isum);
        for (int t = 0; t < n_tokens; t++) {
            const char *q_row = x + (size_t)t * x_stride, *sums = q_row + rz_act_s_offset(k, 256) + b * 32;
            float dx = ((const float *)(q_row + rz_act_d_offset(k)))[b];
            if (bias_of_tile(format)) {
                __m256i bias = _mm256_set1_epi32(bias_of_tile(format));
                __m256i offset = _mm256_mullo_epi32(dot_pairs(s->scale_pairs, sums), bias);
                isum[t] = _mm256_sub_epi32(isum[t], offset);
            }
            if (format.mins) xsum = dot_pairs(s->min_pairs, sums);
            acc[t] = add_block_256(format, isum[t], xsum, s->d, s->m, dx, acc[t]);
        }
    }
    for (int t = 0; t < n_tokens; t++) _mm256_maskstore_ps(y + (size_t)t * ldy, rows, acc[t]);
}

RZ_INLINE void gemm_256(format_256 format, RZ_MATMUL_PARAMS)
{
    tile_256 tile = {.q = scratch, .scales = (block_scales *)((char *)scratch + 8 * k)};
    for (size_t r = r0; r < r1; r += 8) {
        eight_rows rows = eight_rows_at(w, w_stride, r, r1);
        __m256i there = first_rows(r1 - r);
        unpack_tile_256(format, &rows, k, &tile);
        size_t t = 0;
        for (; t + 4 <= n; t += 4)
            multiply_tile_256(format, &tile, k, (const char *)x + t * x_stride, x_stride, 4, y + t * ldy + r, ldy,
                              there);
        for (; t < n; t++)
            multiply_tile_256(format, &tile, k, (const char *)x + t * x_stride, x_stride, 1, y + t * ldy + r, ldy,
                              there);
    }
}

#endif
