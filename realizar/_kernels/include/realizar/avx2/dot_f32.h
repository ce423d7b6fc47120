/* Products of float rows: two weight rows by two tokens, the sixteen lanes of each dot in two registers. */
#ifndef REALIZAR_AVX2_DOT_F32_H
#define REALIZAR_AVX2_DOT_F32_H

#include "realizar/avx2/f32x16.h"
#include "realizar/matmul.h"

/* The first n of sixteen weights as floats. */
typedef f32x16 load_16_fn(const char *w, size_t n);

static inline f32x16 load_16_f32(const char *w, size_t n) { return f32x16_load_first((const float *)w, n); }
static inline f32x16 load_16_f16(const char *w, size_t n) { return f32x16_load_first_f16((const uint16_t *)w, n); }

static inline f32x16 load_16_bf16(const char *w, size_t n)
{
    uint16_t upper[16] = {0};
    memcpy(upper, w, (n < 16 ? n : 16) * sizeof *upper);
    __m256i lo = _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)upper));
    __m256i hi = _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)(upper + 8)));
    return f32x16_of(_mm256_castsi256_ps(_mm256_slli_epi32(lo, 16)), _mm256_castsi256_ps(_mm256_slli_epi32(hi, 16)));
}

/* n_rows <= 2 rows against n_tokens <= 2 tokens. */
RZ_INLINE void multiply_rows_f32(load_16_fn *load, size_t element_bytes, const char *w, size_t w_stride, int n_rows,
                                 size_t k, const char *x, size_t x_stride, int n_tokens, float *y, size_t ldy)
{
    f32x16 acc[2][2] = {{f32x16_zero(), f32x16_zero()}, {f32x16_zero(), f32x16_zero()}};
    for (size_t i = 0; i < k; i += 16) {
        size_t n = k - i < 16 ? k - i : 16;
        f32x16 wr[2];
        for (int r = 0; r < n_rows; r++) wr[r] = load(w + (size_t)r * w_stride + i * element_bytes, n);
        for (int t = 0; t < n_tokens; t++) {
            f32x16 xt = f32x16_load_first((const float *)(x + (size_t)t * x_stride) + i, n);
            for (int r = 0; r < n_rows; r++) {
                f32x16 sum = f32x16_fma(wr[r], xt, acc[t][r]);
                acc[t][r] = n < 16 ? f32x16_within(sum, 0, (int)n, acc[t][r]) : sum;
            }
        }
    }
    for (int t = 0; t < n_tokens; t++)
        for (int r = 0; r < n_rows; r++) y[(size_t)t * ldy + (size_t)r] = f32x16_sum(acc[t][r]);
}

/* Up to two rows against all tokens. */
RZ_INLINE void multiply_tokens_f32(load_16_fn *load, size_t element_bytes, const char *w, size_t w_stride, int n_rows,
                                   size_t k, const char *x, size_t x_stride, size_t n, float *y, size_t ldy)
{
    for (size_t t = 0; t < n; t += 2) {
        const char *xt = x + t * x_stride;
        if (n_rows == 2 && n - t >= 2)
            multiply_rows_f32(load, element_bytes, w, w_stride, 2, k, xt, x_stride, 2, y + t * ldy, ldy);
        else
            multiply_rows_f32(load, element_bytes, w, w_stride, n_rows, k, xt, x_stride, n - t < 2 ? 1 : 2, y + t * ldy,
                              ldy);
    }
}

/* Float formats: the rows as they lie in the file. */
RZ_INLINE void matmul_floats(load_16_fn *load, size_t element_bytes, RZ_MATMUL_PARAMS)
{
    for (size_t r = r0; r < r1; r += 2)
        multiply_tokens_f32(load, element_bytes, (const char *)w + r * w_stride, w_stride, r1 - r < 2 ? 1 : 2, k, x,
                            x_stride, n, y + r, ldy);
}

/* Any format: two rows are dequantized into scratch and meet every token. */
RZ_INLINE void dequantize_and_dot(rz_dequantize_fn *dequantize, RZ_MATMUL_PARAMS)
{
    float *rows = scratch;
    for (size_t r = r0; r < r1; r += 2) {
        int n_rows = r1 - r < 2 ? 1 : 2;
        for (int i = 0; i < n_rows; i++)
            dequantize((const char *)w + (r + (size_t)i) * w_stride, k, rows + (size_t)i * k);
        multiply_tokens_f32(load_16_f32, sizeof(float), scratch, k * sizeof(float), n_rows, k, x, x_stride, n, y + r,
                            ldy);
    }
}

#endif
