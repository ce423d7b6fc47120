/* The products of the 32-element formats (GEMV and GEMM), eight rows at a time.
 *
 * gemv: one tree sums the dot products of one block of eight rows, which are added to eight accumulators; gemm:
 * unpacked rows against four tokens at a time. Elements are offset by a bias: isum = sum of q * x - bias * sum(x). A block
 * of some formats is several times 32 elements; "block" below is 32 elements. */
#ifndef REALIZAR_AVX2_PRODUCT_32_H
#define REALIZAR_AVX2_PRODUCT_32_H

#include "realizar/avx2/bit_pairs.h"
#include "realizar/avx2/rows.h"

typedef struct {
    unpack_32_fn *unpack;
    byte_kind kind;
    int block_bytes, bias, has_min, scales;
    int log2_parts, d_at;      /* block_bytes are those of 32 << log2_parts elements; where d is in them */
    unpack_32_fn *unpack_by_4; /* for the GEMV: elements 0, 4, 8, ... 28, then 1, 5, ...; NULL: in their order */
} format_32;

RZ_INLINE int bias_32(format_32 format) { return format.bias + signed_bias(format.kind); }

RZ_INLINE size_t block_at_32(format_32 format, size_t b)
{
    return (b >> format.log2_parts) * (size_t)format.block_bytes;
}

/* The scales of block b of eight rows. */
RZ_INLINE __m256 scales_of_rows(format_32 format, const char *const *rows, size_t b)
{
    size_t at = block_at_32(format, b) + (size_t)format.d_at;
    return format.scales == E8M0_SCALES   ? powers_of_rows(rows, at)
           : format.scales == E4M3_SCALES ? e4m3_of_rows(rows, at + b % 2 * 2)
                                          : halves_of_rows(rows, at);
}

/* The minima, or the scales of the second halves. */
RZ_INLINE __m256 mins_of_rows(format_32 format, const char *const *rows, size_t b)
{
    size_t at = block_at_32(format, b) + (size_t)format.d_at;
    return format.scales == E4M3_SCALES ? e4m3_of_rows(rows, at + b % 2 * 2 + 1) : halves_of_rows(rows, at + 2);
}

/* The products of the bias with the sums of each half of 32 elements of a token, in every dword. */
RZ_INLINE void bias_of_halves(format_32 format, const char *q, __m256i *sums)
{
    __m256i x = _mm256_loadu_si256((const __m256i *)q);
    __m256i words = _mm256_maddubs_epi16(_mm256_set1_epi8((char)format.bias), x);
    __m256i dwords = _mm256_madd_epi16(words, _mm256_set1_epi16(1));
    dwords = _mm256_hadd_epi32(dwords, dwords);
    dwords = _mm256_hadd_epi32(dwords, dwords);
    sums[0] = _mm256_permute2x128_si256(dwords, dwords, 0x00);
    sums[1] = _mm256_permute2x128_si256(dwords, dwords, 0x11);
}

/* Thirty-two elements of a token in the order of the unpacked weights of a GEMV. */
RZ_INLINE __m256i load_act_32(format_32 format, const char *q)
{
    __m256i x = _mm256_loadu_si256((const __m256i *)q);
    return format.unpack_by_4 ? every_fourth(x) : x;
}

/* acc + d dx isum of the first halves + m dx isum of the second. */
RZ_INLINE __m256 add_halves_32(format_32 format, const __m256i *isum, __m256 d, __m256 m, const char *q, float dx,
                               __m256 acc)
{
    __m256i bias[2];
    bias_of_halves(format, q, bias);
    __m256 first = _mm256_cvtepi32_ps(_mm256_sub_epi32(isum[0], bias[0]));
    __m256 second = _mm256_cvtepi32_ps(_mm256_sub_epi32(isum[1], bias[1]));
    acc = _mm256_fmadd_ps(first, _mm256_mul_ps(d, _mm256_set1_ps(dx)), acc);
    return _mm256_fmadd_ps(second, _mm256_mul_ps(m, _mm256_set1_ps(dx)), acc);
}

/* acc + d dx isum (+ m dx sum), for eight rows. */
RZ_INLINE __m256 add_block_32(format_32 format, __m256i isum, __m256 d, __m256 m, float dx, int sum, __m256 acc)
{
    acc = _mm256_fmadd_ps(_mm256_cvtepi32_ps(isum), _mm256_mul_ps(d, _mm256_set1_ps(dx)), acc);
    return format.has_min ? _mm256_fmadd_ps(m, _mm256_set1_ps(dx * (float)sum), acc) : acc;
}

/* Eight weight rows against n (one or two) input rows; each weight row prefetches. */
RZ_INLINE void dot_rows_32(format_32 format, const char *const *rows, size_t k, const char *x, size_t x_stride, int n,
                           __m256 *acc)
{
#pragma GCC unroll 2
    for (int t = 0; t < n; t++) acc[t] = _mm256_setzero_ps();
    for (size_t b = 0; b < k / 32; b++) {
        __m256i dots[2][8];
#pragma GCC unroll 8
        for (int r = 0; r < 8; r++) {
            __m256i w = format.unpack_by_4 ? format.unpack_by_4(rows[r], b) : format.unpack(rows[r], b);
#pragma GCC unroll 2
            for (int t = 0; t < n; t++)
                dots[t][r] = dot_bytes(format.kind, w, load_act_32(format, x + (size_t)t * x_stride + 32 * b));
            if (b % (2u << format.log2_parts) == 0)
                fetch_ahead(rows[r] + block_at_32(format, b), AHEAD, 2 * format.block_bytes);
        }
        __m256 dw = scales_of_rows(format, rows, b), m = format.has_min ? mins_of_rows(format, rows, b) : dw;
#pragma GCC unroll 2
        for (int t = 0; t < n; t++) {
            const char *q_row = x + (size_t)t * x_stride;
            float d = ((const float *)(q_row + rz_act_d_offset(k)))[b];
            int s = ((const int16_t *)(q_row + rz_act_s_offset(k, 32)))[b];
            if (format.has_min == TWO_SCALES) {
                __m256i halves[2];
                sum_lanes_i32(dots[t], halves);
                acc[t] = add_halves_32(format, halves, dw, m, q_row + 32 * b, d, acc[t]);
                continue;
            }
            __m256i isum = _mm256_sub_epi32(sum_each_i32(dots[t]), _mm256_set1_epi32(bias_32(format) * s));
            acc[t] = add_block_32(format, isum, dw, m, d, s, acc[t]);
        }
    }
}

/* n: input rows, one or two. */
RZ_INLINE void gemv_32(format_32 format, const void *w, size_t w_stride, size_t k, size_t r0, size_t r1, const void *x,
                       size_t x_stride, int n, float *y, size_t ldy)
{
    for (size_t step = 0; step < stream_steps(r0, r1, 8); step++) {
        eight_rows rows = eight_rows_of_streams(w, w_stride, r0, r1, step);
        __m256 dots[2];
        dot_rows_32(format, rows.row, k, x, x_stride, n, dots);
        store_rows(y, &rows, dots[0]);
        if (n > 1) store_rows(y + ldy, &rows, dots[1]);
    }
}

/* Eight unpacked rows: their bytes, and d and m of each block. */
typedef struct {
    char *q;
    float *d, *m;
} tile_32;

RZ_INLINE void multiply_tile_32(format_32 format, const tile_32 *tile, size_t k, const char *x, size_t x_stride,
                                int n_tokens, float *y, size_t ldy, __m256i rows)
{
    __m256 acc[4];
    for (int t = 0; t < n_tokens; t++) acc[t] = _mm256_setzero_ps();
    for (size_t b = 0; b < k / 32; b++) {
        __m256i isum[4], second[4];
#pragma GCC unroll 4
        for (int t = 0; t < n_tokens; t++) isum[t] = second[t] = _mm256_setzero_si256();
        const int n_step = format.has_min == TWO_SCALES ? 4 : 8;
        multiply_steps(format.kind, tile->q + b * 256, n_step, NULL, x + b * 32, x_stride, n_tokens, isum);
        if (format.has_min == TWO_SCALES)
            multiply_steps(format.kind, tile->q + b * 256 + 128, n_step, NULL, x + b * 32 + 16, x_stride, n_tokens,
                           second);
        __m256 d = _mm256_load_ps(tile->d + b * 8), m = format.has_min ? _mm256_load_ps(tile->m + b * 8) : d;
#pragma GCC unroll 4
        for (int t = 0; t < n_tokens; t++) {
            const char *q_row = x + (size_t)t * x_stride;
            float dx = ((const float *)(q_row + rz_act_d_offset(k)))[b];
            int sum = ((const int16_t *)(q_row + rz_act_s_offset(k, 32)))[b];
            if (format.has_min == TWO_SCALES) {
                __m256i halves[2] = {isum[t], second[t]};
                acc[t] = add_halves_32(format, halves, d, m, q_row + 32 * b, dx, acc[t]);
                continue;
            }
            isum[t] = _mm256_sub_epi32(isum[t], _mm256_set1_epi32(bias_32(format) * sum));
            acc[t] = add_block_32(format, isum[t], d, m, dx, sum, acc[t]);
        }
    }
    for (int t = 0; t < n_tokens; t++) _mm256_maskstore_ps(y + (size_t)t * ldy, rows, acc[t]);
}

RZ_INLINE void gemm_32(format_32 format, RZ_MATMUL_PARAMS)
{
    tile_32 tile = {.q = scratch, .d = (float *)((char *)scratch + 8 * k), .m = (float *)((char *)scratch + 9 * k)};
    for (size_t r = r0; r < r1; r += 8) {
        eight_rows rows = eight_rows_at(w, w_stride, r, r1);
        unpack_rows(format.unpack, &rows, k, tile.q);
        for (size_t b = 0; b < k / 32; b++) {
            _mm256_store_ps(tile.d + b * 8, scales_of_rows(format, rows.row, b));
            if (format.has_min) _mm256_store_ps(tile.m + b * 8, mins_of_rows(format, rows.row, b));
        }
        __m256i there = first_rows(r1 - r);
        size_t t = 0;
        for (; t + 4 <= n; t += 4)
            multiply_tile_32(format, &tile, k, (const char *)x + t * x_stride, x_stride, 4, y + t * ldy + r, ldy,
                             there);
        for (; t < n; t++)
            multiply_tile_32(format, &tile, k, (const char *)x + t * x_stride, x_stride, 1, y + t * ldy + r, ldy,
                             there);
    }
}

#endif
