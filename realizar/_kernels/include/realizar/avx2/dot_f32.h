/* Products of float rows: two weight rows by two tokens; the sixteen lanes of each dot product are two registers. */
#ifndef REALIZAR_AVX2_DOT_F32_H
#define REALIZAR_AVX2_DOT_F32_H

#include "realizar/avx2/f32x16.h"
#include "realizar/matmul.h"
#include "realizar/streams.h"

/* The first n of sixteen weights as floats. */
typedef f32x16 load_16_fn(const char *w, size_t n);

static inline f32x16 load_16_f32(const char *w, size_t n) { return f32x16_load_first((const float *)w, n); }
static inline f32x16 load_16_f16(const char *w, size_t n) { return f32x16_load_first_f16((const uint16_t *)w, n); }

static inline f32x16 load_16_bf16(const char *w, size_t n)
{
    uint16_t first[16] = {0};
    if (n < 16) w = memcpy(first, w, n * sizeof *first);
    __m256i lo = _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)w));
    __m256i hi = _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)w + 1));
    return f32x16_of(_mm256_castsi256_ps(_mm256_slli_epi32(lo, 16)), _mm256_castsi256_ps(_mm256_slli_epi32(hi, 16)));
}

/* Prefetch distance of a row of floats, in bytes. */
enum { AHEAD_FLOATS = 1024 };

/* Rows w, w + w_stride ... and the addresses of their results: y, y + y_step ... */
typedef struct {
    const char *w;
    size_t w_stride, y_step;
    int n;
} two_rows;

/* Elements [i, i + n) of up to two rows times those of n_tokens <= 2 tokens; n <= 16. If ahead is not 0, each row
 * prefetches that many bytes ahead. */
RZ_INLINE void multiply_16(load_16_fn *load, size_t element_bytes, two_rows rows, size_t i, size_t n, const char *x,
                           size_t x_stride, int n_tokens, int ahead, f32x16 (*acc)[2])
{
    f32x16 wr[2];
    for (int r = 0; r < rows.n; r++) {
        const char *w = rows.w + (size_t)r * rows.w_stride + i * element_bytes;
        if (ahead) __builtin_prefetch(w + ahead);
        wr[r] = load(w, n);
    }
    for (int t = 0; t < n_tokens; t++) {
        f32x16 xt = f32x16_load_first((const float *)(x + (size_t)t * x_stride) + i, n);
        for (int r = 0; r < rows.n; r++) {
            f32x16 sum = f32x16_fma(wr[r], xt, acc[t][r]);
            acc[t][r] = n < 16 ? f32x16_within(sum, 0, (int)n, acc[t][r]) : sum;
        }
    }
}

/* Up to two rows against n_tokens <= 2 tokens. */
RZ_INLINE void multiply_rows_f32(load_16_fn *load, size_t element_bytes, two_rows rows, size_t k, const char *x,
                                 size_t x_stride, int n_tokens, int ahead, float *y, size_t ldy)
{
    f32x16 acc[2][2] = {{f32x16_zero(), f32x16_zero()}, {f32x16_zero(), f32x16_zero()}};
    size_t i = 0;
    for (; i + 16 <= k; i += 16) multiply_16(load, element_bytes, rows, i, 16, x, x_stride, n_tokens, ahead, acc);
    if (i < k) multiply_16(load, element_bytes, rows, i, k - i, x, x_stride, n_tokens, ahead, acc);
    for (int t = 0; t < n_tokens; t++)
        for (int r = 0; r < rows.n; r++) y[(size_t)t * ldy + (size_t)r * rows.y_step] = f32x16_sum(acc[t][r]);
}

/* Up to two rows against all tokens; only the first tokens prefetch. */
RZ_INLINE void multiply_tokens_f32(load_16_fn *load, size_t element_bytes, two_rows rows, size_t k, const char *x,
                                   size_t x_stride, size_t n, int ahead, float *y, size_t ldy)
{
    for (size_t t = 0; t < n; t += 2, ahead = 0) {
        const char *xt = x + t * x_stride;
        int n_tokens = n - t < 2 ? 1 : 2;
        two_rows two = {rows.w, rows.w_stride, rows.y_step, 2};
        if (rows.n == 2 && n_tokens == 2)
            multiply_rows_f32(load, element_bytes, two, k, xt, x_stride, 2, ahead, y + t * ldy, ldy);
        else
            multiply_rows_f32(load, element_bytes, rows, k, xt, x_stride, n_tokens, ahead, y + t * ldy, ldy);
    }
}

/* Float formats: reads the rows of the file directly, one of each of two runs (streams.h). */
RZ_INLINE void matmul_floats(load_16_fn *load, size_t element_bytes, RZ_MATMUL_PARAMS)
{
    size_t n_steps = stream_steps(r0, r1, 2);
    for (size_t r = r0; r < r0 + n_steps; r++) {
        two_rows rows = {(const char *)w + r * w_stride, n_steps * w_stride, n_steps, r + n_steps < r1 ? 2 : 1};
        multiply_tokens_f32(load, element_bytes, rows, k, x, x_stride, n, AHEAD_FLOATS, y + r, ldy);
    }
}

/* Any format: dequantizes two rows into scratch and multiplies them with every token. */
RZ_INLINE void dequantize_and_dot(rz_dequantize_fn *dequantize, RZ_MATMUL_PARAMS)
{
    for (size_t r = r0; r < r1; r += 2) {
        two_rows rows = {scratch, k * sizeof(float), 1, r1 - r < 2 ? 1 : 2};
        for (size_t i = 0; i < (size_t)rows.n; i++)
            dequantize((const char *)w + (r + i) * w_stride, k, (float *)scratch + i * k);
        multiply_tokens_f32(load_16_f32, sizeof(float), rows, k, x, x_stride, n, 0, y + r, ldy);
    }
}

#endif
