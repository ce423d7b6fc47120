/* The products of the 32-element formats (GEMV and GEMM), eight rows at a time.
 *
 * gemv: one tree sums the dot products of one block of eight rows, which are added to eight accumulators; gemm:
 * unpacked rows against four tokens at a time. Elements are offset by a bias: isum = sum of q * x - bias * sum(x). */
#ifndef REALIZAR_AVX2_PRODUCT_32_H
#define REALIZAR_AVX2_PRODUCT_32_H

#include "realizar/avx2/rows.h"

typedef struct {
    unpack_32_fn *unpack;
    byte_kind kind;
    int block_bytes, bias, has_min, scales;
} format_32;

RZ_INLINE int bias_32(format_32 format) { return format.bias + signed_bias(format.kind); }

/* The scales of the blocks at offset of eight rows. */
RZ_INLINE __m256 scales_of_rows(format_32 format, const char *const *rows, size_t offset)
{
    return format.scales == E8M0_SCALES ? powers_of_rows(rows, offset) : halves_of_rows(rows, offset);
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
            __m256i w = format.unpack(rows[r], b);
#pragma GCC unroll 2
            for (int t = 0; t < n; t++) {
                __m256i q = _mm256_loadu_si256((const __m256i *)(x + (size_t)t * x_stride + 32 * b));
                dots[t][r] = dot_bytes(format.kind, w, q);
            }
            if (b % 2 == 0) fetch_ahead(rows[r] + b * (size_t)format.block_bytes, AHEAD, 2 * format.block_bytes);
        }
        size_t at = b * (size_t)format.block_bytes;
        __m256 dw = scales_of_rows(format, rows, at), m = format.has_min ? halves_of_rows(rows, at + 2) : dw;
#pragma GCC unroll 2
        for (int t = 0; t < n; t++) {
            const char *q_row = x + (size_t)t * x_stride;
            float d = ((const float *)(q_row + rz_act_d_offset(k)))[b];
            int s = ((const int16_t *)(q_row + rz_act_s_offset(k, 32)))[b];
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
        __m256i isum[4];
#pragma GCC unroll 4
        for (int t = 0; t < n_tokens; t++) isum[t] = _mm256_setzero_si256();
        multiply_steps(format.kind, tile->q + b * 256, 8, NULL, x + b * 32, x_stride, n_tokens, isum);
        __m256 d = _mm256_load_ps(tile->d + b * 8), m = format.has_min ? _mm256_load_ps(tile->m + b * 8) : d;
#pragma GCC unroll 4
        for (int t = 0; t < n_tokens; t++) {
            const char *q_row = x + (size_t)t * x_stride;
            float dx = ((const float *)(q_row + rz_act_d_offset(k)))[b];
            int sum = ((const int16_t *)(q_row + rz_act_s_offset(k, 32)))[b];
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
            size_t at = b * (size_t)format.block_bytes;
            _mm256_store_ps(tile.d + b * 8, scales_of_rows(format, rows.row, at));
            if (format.has_min) _mm256_store_ps(tile.m + b * 8, halves_of_rows(rows.row, at + 2));
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
