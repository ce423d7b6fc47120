/* GEMV of the K formats: four rows a step, one of each of four runs of rows (streams.h), one block of 256 at a time,
 * straight from the file's blocks.
 *
 * A row's block gives sixteen partial sums with the integer scales of its sub-blocks already inside; those of four rows
 * are summed by one shuffle tree, and one fma per block, ascending, adds to the accumulators of the four rows. */
#ifndef REALIZAR_AVX512_GEMV_256_H
#define REALIZAR_AVX512_GEMV_256_H

#include "realizar/avx512/lanes.h"
#include "realizar/matmul.h"
#include "realizar/streams.h"

/* Bytes ahead that a row fetches (512 to 4096 measured; 1024 to 2048 are best). */
enum { AHEAD_256 = 1024 };

/* One block of a token. */
typedef struct {
    __m512i q_s8x64[4];
    __m256i sums; /* of the sixteen groups of 16 */
} act_256;

/* Scales and minima of one block of four rows: lane r belongs to row r. */
typedef struct {
    __m512i scales;  /* bytes, in the order that the format's dot wants */
    __m512i mins[2]; /* words, of the groups 0..7 and 8..15; without minima: the scales, when there is a bias */
    __m128 d, dmin;
} scales_256;

typedef scales_256 scales_256_fn(const char *const *blocks);
/* Sixteen partial sums of scale * q * x of row r of the four. */
typedef __m512i dot_256_fn(const char *block, const scales_256 *scales, int r, const act_256 *x);

typedef struct {
    scales_256_fn *scales;
    dot_256_fn *dot;
    int block_bytes, has_min;
    int bias_bits; /* log2 of the bias that the unsigned elements count from; 0: none */
} gemv_256_format;

/* d of dword r of the lower halves, for four rows. */
RZ_INLINE __m128 halves_f32(__m128i dwords)
{
    return _mm_cvtph_ps(_mm_packus_epi32(_mm_and_si128(dwords, _mm_set1_epi32(0xffff)), _mm_setzero_si128()));
}

/* Sixteen minima a row against the group sums: dword r is row r's. */
RZ_INLINE __m128i dot_mins(const __m512i *mins, __m256i sums)
{
    __m512i low = _mm512_broadcast_i32x4(_mm256_castsi256_si128(sums));
    __m512i high = _mm512_broadcast_i32x4(_mm256_extracti128_si256(sums, 1));
    __m512i dot = _mm512_dpwssd_epi32(_mm512_madd_epi16(mins[0], low), mins[1], high);
    dot = _mm512_add_epi32(dot, _mm512_shuffle_epi32(dot, _MM_PERM_BADC));
    dot = _mm512_add_epi32(dot, _mm512_shuffle_epi32(dot, _MM_PERM_CDAB));
    const __m512i first_of_lane = _mm512_set_epi32(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 12, 8, 4, 0);
    return _mm512_castsi512_si128(_mm512_permutexvar_epi32(first_of_lane, dot));
}

/* Adds one block of four rows to acc. */
RZ_INLINE __m128 step_256(gemv_256_format format, const char *const *blocks, const act_256 *x, float dx, __m128 acc)
{
    scales_256 s = format.scales(blocks);
    __m512i dots[4];
#pragma GCC unroll 4
    for (int r = 0; r < 4; r++) dots[r] = format.dot(blocks[r], &s, r, x);
    __m128i isum = add_lanes_i32(sum_quads_i32(dots[0], dots[1], dots[2], dots[3]));
    if (format.bias_bits) isum = _mm_sub_epi32(isum, _mm_slli_epi32(dot_mins(s.mins, x->sums), format.bias_bits));
    __m128 d = _mm_set1_ps(dx);
    acc = _mm_fmadd_ps(_mm_cvtepi32_ps(isum), _mm_mul_ps(s.d, d), acc);
    if (format.has_min) acc = _mm_fnmadd_ps(_mm_mul_ps(s.dmin, d), _mm_cvtepi32_ps(dot_mins(s.mins, x->sums)), acc);
    return acc;
}

RZ_INLINE act_256 load_act_256(const char *record, size_t k, size_t block)
{
    act_256 x;
    for (int i = 0; i < 4; i++) x.q_s8x64[i] = _mm512_loadu_si512(record + block * 256 + 64 * (size_t)i);
    x.sums = _mm256_loadu_si256((const __m256i *)(record + rz_act_s_offset(k, 256)) + block);
    return x;
}

/* Four rows against one token, each of them fetching what lies ahead of it. */
RZ_INLINE __m128 dot_rows_256(gemv_256_format format, const char *const *rows, int fetch, size_t k, const char *record)
{
    const float *d = (const float *)(record + rz_act_d_offset(k));
    size_t bytes = (size_t)format.block_bytes;
    __m128 acc = _mm_setzero_ps();
    for (size_t b = 0; b < k / 256; b++) {
        const char *blocks[4] = {rows[0] + b * bytes, rows[1] + b * bytes, rows[2] + b * bytes, rows[3] + b * bytes};
        if (fetch)
            for (int r = 0; r < 4; r++) fetch_ahead(blocks[r], AHEAD_256, bytes);
        act_256 x = load_act_256(record, k, b);
        acc = step_256(format, blocks, &x, d[b], acc);
    }
    return acc;
}

RZ_INLINE void gemv_256(gemv_256_format format, RZ_MATMUL_PARAMS)
{
    size_t n_steps = stream_steps(r0, r1, 4), at[4];
    for (size_t step = 0; step < n_steps; step++) {
        const char *rows[4];
        for (size_t s = 0; s < 4; s++) {
            at[s] = stream_row(r0, r1, n_steps, s, step);
            rows[s] = (const char *)w + at[s] * w_stride;
        }
        for (size_t t = 0; t < n; t++) {
            float dots[4];
            _mm_storeu_ps(dots, dot_rows_256(format, rows, t == 0, k, (const char *)x + t * x_stride));
            for (size_t s = 0; s < 4; s++) y[t * ldy + at[s]] = dots[s];
        }
    }
}

#endif
