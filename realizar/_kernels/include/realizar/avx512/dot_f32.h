/* Products of float rows: four weight rows by four tokens; the sixteen lanes of each dot product are one register. */
#ifndef REALIZAR_AVX512_DOT_F32_H
#define REALIZAR_AVX512_DOT_F32_H

#include "realizar/avx512/lanes.h"
#include "realizar/matmul.h"
#include "realizar/streams.h"

/* Sixteen weights as floats; weights outside the mask are zero and not read. */
typedef __m512 load_16_fn(const char *w, __mmask16 there);

static inline __m512 load_16_f32(const char *w, __mmask16 there) { return _mm512_maskz_loadu_ps(there, w); }

static inline __m512 load_16_f16(const char *w, __mmask16 there)
{
    return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(there, w));
}

static inline __m512 load_16_bf16(const char *w, __mmask16 there)
{
    __m512i wide = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(there, w));
    return _mm512_castsi512_ps(_mm512_slli_epi32(wide, 16));
}

/* The fixed tree of scalar/dot_f32.h for four vectors at once: 16 -> 8 -> 4 -> 2 -> 1 lanes. */
RZ_INLINE __m128 sum_lanes_4(const __m512 *v)
{
    __m512 v01 = _mm512_add_ps(_mm512_shuffle_f32x4(v[0], v[1], 0x44), _mm512_shuffle_f32x4(v[0], v[1], 0xee));
    __m512 v23 = _mm512_add_ps(_mm512_shuffle_f32x4(v[2], v[3], 0x44), _mm512_shuffle_f32x4(v[2], v[3], 0xee));
    __m512 quads = _mm512_add_ps(_mm512_shuffle_f32x4(v01, v23, 0x88), _mm512_shuffle_f32x4(v01, v23, 0xdd));
    quads = _mm512_add_ps(quads, _mm512_permute_ps(quads, 0x4e));
    quads = _mm512_add_ps(quads, _mm512_permute_ps(quads, 0xb1));
    const __m512i first_of_lane = _mm512_set_epi32(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 12, 8, 4, 0);
    return _mm512_castps512_ps128(_mm512_permutexvar_ps(first_of_lane, quads));
}

/* acc[t][r] += sixteen products of row r and token t; lanes outside the mask do not change. */
RZ_INLINE void multiply_16(load_16_fn *load, const char *const *rows, size_t w_at, const float *x, size_t ldx,
                           int n_tokens, __mmask16 there, __m512 (*acc)[4])
{
    __m512 w[4];
#pragma GCC unroll 4
    for (int r = 0; r < 4; r++) w[r] = load(rows[r] + w_at, there);
#pragma GCC unroll 4
    for (int t = 0; t < n_tokens; t++) {
        __m512 xt = _mm512_maskz_loadu_ps(there, x + (size_t)t * ldx);
#pragma GCC unroll 4
        for (int r = 0; r < 4; r++) acc[t][r] = _mm512_mask3_fmadd_ps(w[r], xt, acc[t][r], there);
    }
}

/* The four rows of a step, one from each of four runs (streams.h), and their indices. */
typedef struct {
    const char *row[4];
    size_t at[4];
} rows_4;

/* Prefetch distance of a row of floats, in bytes. */
enum { AHEAD_FLOATS = 1024 };

/* Four rows against n_tokens <= 4 tokens; if ahead is not 0, each row prefetches that many bytes ahead. */
RZ_INLINE void multiply_rows_f32(load_16_fn *load, size_t element_bytes, const rows_4 *rows, size_t k, const char *x,
                                 size_t x_stride, int n_tokens, int ahead, float *y, size_t ldy)
{
    __m512 acc[4][4];
    size_t ldx = x_stride / sizeof(float), i = 0;
    for (int t = 0; t < n_tokens; t++)
        for (int r = 0; r < 4; r++) acc[t][r] = _mm512_setzero_ps();
    for (; i + 16 <= k; i += 16) {
        if (ahead)
            for (int r = 0; r < 4; r++) __builtin_prefetch(rows->row[r] + i * element_bytes + ahead);
        multiply_16(load, rows->row, i * element_bytes, (const float *)x + i, ldx, n_tokens, 0xffff, acc);
    }
    if (i < k)
        multiply_16(load, rows->row, i * element_bytes, (const float *)x + i, ldx, n_tokens,
                    (__mmask16)((1u << (k - i)) - 1), acc);
    for (int t = 0; t < n_tokens; t++) {
        float dots[4];
        _mm_storeu_ps(dots, sum_lanes_4(acc[t]));
        for (int r = 0; r < 4; r++) y[(size_t)t * ldy + rows->at[r]] = dots[r];
    }
}

/* Four rows against all tokens, four tokens at a time; only the first four prefetch. */
RZ_INLINE void multiply_tokens_f32(load_16_fn *load, size_t element_bytes, const rows_4 *rows, size_t k, const char *x,
                                   size_t x_stride, size_t n, int ahead, float *y, size_t ldy)
{
    size_t t = 0;
    for (; t + 4 <= n; t += 4)
        multiply_rows_f32(load, element_bytes, rows, k, x + t * x_stride, x_stride, 4, t ? 0 : ahead, y + t * ldy, ldy);
    for (; t < n; t++)
        multiply_rows_f32(load, element_bytes, rows, k, x + t * x_stride, x_stride, 1, t ? 0 : ahead, y + t * ldy, ldy);
}

/* Float formats: reads the rows of the file directly. */
RZ_INLINE void matmul_floats(load_16_fn *load, size_t element_bytes, RZ_MATMUL_PARAMS)
{
    size_t n_steps = stream_steps(r0, r1, 4);
    for (size_t step = 0; step < n_steps; step++) {
        rows_4 rows;
        for (size_t s = 0; s < 4; s++) {
            rows.at[s] = stream_row(r0, r1, n_steps, s, step);
            rows.row[s] = (const char *)w + rows.at[s] * w_stride;
        }
        multiply_tokens_f32(load, element_bytes, &rows, k, x, x_stride, n, AHEAD_FLOATS, y, ldy);
    }
}

/* Any format: dequantizes four rows into scratch and multiplies them with every token. */
RZ_INLINE void dequantize_and_dot(rz_dequantize_fn *dequantize, RZ_MATMUL_PARAMS)
{
    float *room = scratch;
    for (size_t r = r0; r < r1; r += 4) {
        rows_4 rows;
        for (size_t i = 0; i < 4; i++) {
            rows.at[i] = r + i < r1 ? r + i : r1 - 1;
            rows.row[i] = (const char *)(room + i * k);
            dequantize((const char *)w + rows.at[i] * w_stride, k, room + i * k);
        }
        multiply_tokens_f32(load_16_f32, sizeof(float), &rows, k, x, x_stride, n, 0, y, ldy);
    }
}

#endif
