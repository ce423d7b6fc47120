/* GEMV of the K formats: four rows per step, one of each of four runs of rows (streams.h), one block of 256 at a time,
 * directly from the blocks of the file. Two input rows at a time share the unpacked weights.
 *
 * A block of a row gives sixteen partial sums, with the integer scales of the sub-blocks applied. One shuffle tree adds
 * up those of four rows, and one fma per block, in ascending order, adds them to the accumulators of the four rows. */
#ifndef REALIZAR_AVX512_GEMV_256_H
#define REALIZAR_AVX512_GEMV_256_H

#include "realizar/avx512/lanes.h"
#include "realizar/matmul.h"
#include "realizar/streams.h"

/* Prefetch distance of a row in bytes (512 to 4096 measured; 1024 to 2048 are best). */
enum { AHEAD_256 = 1024 };

/* Pointers to one block of an input row. */
typedef struct {
    const char *q;       /* 256 bytes */
    const int16_t *sums; /* of the sixteen groups of 16 */
    float d;
} act_256;

/* Elements [64 i, 64 i + 64). */
RZ_INLINE __m512i act_64(const act_256 *x, int i) { return _mm512_loadu_si512(x->q + 64 * i); }

/* Sixty-four bytes of a block, loaded once: gcc would fold the load into every instruction that uses it, and since
 * blocks are not aligned, most loads cross a cache line. */
RZ_INLINE __m512i load_once(const void *p)
{
    __m512i bytes = _mm512_loadu_si512(p);
    __asm__("" : "+v"(bytes));
    return bytes;
}

/* Scales and minima of one block of four rows: lane r belongs to row r. */
typedef struct {
    __m512i scales;  /* bytes, in the order that the format's dot function requires */
    __m512i mins[2]; /* words, of groups 0..7 and 8..15; for formats with a bias and no minima: the scales */
    __m128 d, dmin;
} scales_256;

typedef scales_256 scales_256_fn(const char *const *blocks);
/* Sixteen partial sums of scale * q * x of one row; scales: those of the row, in every lane. */
typedef __m512i dot_256_fn(const char *block, __m512i scales, const act_256 *x);

typedef struct {
    scales_256_fn *scales;
    dot_256_fn *dot;
    int block_bytes, has_min;
    int bias_bits; /* log2 of the bias of the unsigned elements; 0: none */
} gemv_256_format;

/* d of four rows, from the lower half of dword r of each. */
RZ_INLINE __m128 halves_f32(__m128i dwords)
{
    return _mm_cvtph_ps(_mm_packus_epi32(_mm_and_si128(dwords, _mm_set1_epi32(0xffff)), _mm_setzero_si128()));
}

RZ_INLINE act_256 act_block_256(const char *q_row, size_t k, size_t block)
{
    const float *d = (const float *)(q_row + rz_act_d_offset(k));
    const int16_t *sums = (const int16_t *)(q_row + rz_act_s_offset(k, 256));
    return (act_256){q_row + block * 256, sums + block * 16, d[block]};
}

/* The products of sixteen minima per row with the group sums: four dwords in the lane of each row. */
RZ_INLINE __m512i multiply_mins(const __m512i *mins, const int16_t *sums)
{
    __m512i low = _mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i *)sums));
    __m512i high = _mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i *)sums + 1));
    return _mm512_dpwssd_epi32(_mm512_madd_epi16(mins[0], low), mins[1], high);
}

/* The same for n (one or two) input rows: dword 4 t + r belongs to input row t and weight row r. */
RZ_INLINE __m256i dot_mins(const __m512i *mins, const act_256 *x, int n)
{
    __m512i first = multiply_mins(mins, x[0].sums), both;
    if (n > 1) {
        __m512i second = multiply_mins(mins, x[1].sums);
        both = _mm512_add_epi32(_mm512_unpacklo_epi32(first, second), _mm512_unpackhi_epi32(first, second));
    } else
        both = _mm512_add_epi32(first, _mm512_shuffle_epi32(first, _MM_PERM_CDAB));
    both = _mm512_add_epi32(both, _mm512_shuffle_epi32(both, _MM_PERM_BADC));
    const __m512i by_input = _mm512_set_epi32(0, 0, 0, 0, 0, 0, 0, 0, 13, 9, 5, 1, 12, 8, 4, 0);
    return _mm512_castsi512_si256(_mm512_permutexvar_epi32(by_input, both));
}

/* The dot products of four weight rows with n input rows, in the same order. */
RZ_INLINE __m256i sum_dots(__m512i (*dots)[4], int n)
{
    __m512i first = sum_quads_i32(dots[0][0], dots[0][1], dots[0][2], dots[0][3]);
    if (n == 1) return _mm256_castsi128_si256(add_lanes_i32(first));
    __m512i second = sum_quads_i32(dots[1][0], dots[1][1], dots[1][2], dots[1][3]);
    __m512i both =
        _mm512_add_epi32(_mm512_shuffle_i64x2(first, second, 0x44), _mm512_shuffle_i64x2(first, second, 0xee));
    return _mm256_add_epi32(_mm512_castsi512_si256(_mm512_shuffle_i64x2(both, both, 0x88)),
                            _mm512_castsi512_si256(_mm512_shuffle_i64x2(both, both, 0xdd)));
}

/* Repeats four numbers for each of n input rows. */
RZ_INLINE __m256 twice(__m128 v, int n) { return n > 1 ? _mm256_set_m128(v, v) : _mm256_castps128_ps256(v); }

/* Finishes a block: acc + d dx isum (- dmin dx xsum), four weight rows for each of n input rows. */
RZ_INLINE __m256 finish_256(gemv_256_format format, const scales_256 *s, __m512i (*dots)[4], const act_256 *x, int n,
                            __m256 acc)
{
    __m256i isum = sum_dots(dots, n);
    __m256 d = twice(s->d, n), dx = _mm256_set1_ps(x[0].d);
    if (n > 1) dx = _mm256_insertf128_ps(dx, _mm_set1_ps(x[1].d), 1);
    if (format.bias_bits) isum = _mm256_sub_epi32(isum, _mm256_slli_epi32(dot_mins(s->mins, x, n), format.bias_bits));
    acc = _mm256_fmadd_ps(_mm256_cvtepi32_ps(isum), _mm256_mul_ps(d, dx), acc);
    if (!format.has_min) return acc;
    __m256 dmin = twice(s->dmin, n);
    return _mm256_fnmadd_ps(_mm256_mul_ps(dmin, dx), _mm256_cvtepi32_ps(dot_mins(s->mins, x, n)), acc);
}

/* Four weight rows against n (one or two) input rows; each weight row prefetches. */
RZ_INLINE __m256 dot_rows_256(gemv_256_format format, const char *const *rows, size_t k, const char *x, size_t x_stride,
                              int n)
{
    size_t bytes = (size_t)format.block_bytes;
    __m256 acc = _mm256_setzero_ps();
    for (size_t b = 0; b < k / 256; b++) {
        const char *blocks[4] = {rows[0] + b * bytes, rows[1] + b * bytes, rows[2] + b * bytes, rows[3] + b * bytes};
        for (int r = 0; r < 4; r++) fetch_ahead(blocks[r], AHEAD_256, bytes);
        scales_256 s = format.scales(blocks);
        act_256 act[2];
        __m512i dots[2][4];
#pragma GCC unroll 2
        for (int t = 0; t < n; t++) act[t] = act_block_256(x + (size_t)t * x_stride, k, b);
#pragma GCC unroll 4
        for (int r = 0; r < 4; r++) {
            __m512i scales = broadcast_lane(s.scales, r);
#pragma GCC unroll 2
            for (int t = 0; t < n; t++) dots[t][r] = format.dot(blocks[r], scales, &act[t]);
        }
        acc = finish_256(format, &s, dots, act, n, acc);
    }
    return acc;
}

/* The dot products of four rows, whose indices are `at`, with one token. */
RZ_INLINE void store_four(float *y, const size_t *at, __m128 dots)
{
    float dot[4];
    _mm_storeu_ps(dot, dots);
    for (int s = 0; s < 4; s++) y[at[s]] = dot[s];
}

/* n: input rows, one or two. */
RZ_INLINE void gemv_256(gemv_256_format format, const void *w, size_t w_stride, size_t k, size_t r0, size_t r1,
                        const void *x, size_t x_stride, int n, float *y, size_t ldy)
{
    size_t n_steps = stream_steps(r0, r1, 4), at[4];
    for (size_t step = 0; step < n_steps; step++) {
        const char *rows[4];
        for (size_t s = 0; s < 4; s++) {
            at[s] = stream_row(r0, r1, n_steps, s, step);
            rows[s] = (const char *)w + at[s] * w_stride;
        }
        __m256 dots = dot_rows_256(format, rows, k, x, x_stride, n);
        store_four(y, at, _mm256_castps256_ps128(dots));
        if (n > 1) store_four(y + ldy, at, _mm256_extractf128_ps(dots, 1));
    }
}

#endif
