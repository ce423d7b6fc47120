/* GEMV of the 32-element formats: sixteen rows, one of each of sixteen runs of rows (streams.h), four blocks per step,
 * directly from the blocks of the file.
 *
 *     row 0   [b0 b1 b2 b3]  dot_4 -> partial sums, lane b = block b  \
 *     row 1   [b0 b1 b2 b3]  dot_4 ->                                  > sum_quads -> lane b: rows 0..3
 *     row 2, 3 ...                                                    /
 *     rows 4..7, 8..11, 12..15 the same; then the 4 x 4 lanes are transposed -> vector b: rows 0..15
 *
 * so that one fma per block, in ascending order, adds to the accumulators of sixteen rows. Two input rows at a time
 * share the unpacked weights. A block of the file may be several of these blocks, which share a scale; with TWO_SCALES
 * these blocks have 16 elements. */
#ifndef REALIZAR_AVX512_GEMV_32_H
#define REALIZAR_AVX512_GEMV_32_H

#include <string.h>

#include "realizar/avx512/lanes.h"
#include "realizar/matmul.h"
#include "realizar/streams.h"

/* Prefetch distance of a row in bytes (256 to 1024 measured: more than 512 does not stay in L1). */
enum { AHEAD_32 = 256 };

/* Four consecutive blocks of a token, in the two orders that formats require. */
typedef struct {
    __m512i blocks_01, blocks_23; /* in their order */
    __m512i low, high;            /* lane b: the first 16 elements of block b; the second 16 */
    __m512i by_4[2];              /* lane b: elements 0, 4, ... 28 and 1, 5, ... 29 of block b; then from 2 and 3 on */
    __m512i sum;                  /* the sum of the dwords of lane b is that of block b */
} act_4;

/* Sixteen partial sums; those of block b are in lane b. */
typedef __m512i dot_4_fn(const char *blocks, const act_4 *x);
/* Puts d (lower half) and m (upper half) of block b into dword `row` of lane b; the other dwords do not change. */
typedef __m512i scales_4_fn(__m512i scales, int row, const char *blocks);

typedef struct {
    dot_4_fn *dot_4;
    scales_4_fn *scales_4; /* NULL: a block of the file is several blocks, see scales_of_rows */
    int block_bytes, has_min, scales;
    int log2_blocks, d_at; /* block_bytes are those of 1 << log2_blocks blocks; where d is in them */
} gemv_32_format;

/* log2 of the elements of a block. */
RZ_INLINE int log2_elements(gemv_32_format format) { return format.has_min == TWO_SCALES ? 4 : 5; }

RZ_INLINE size_t bytes_of_blocks(gemv_32_format format, size_t n_blocks)
{
    return n_blocks * (size_t)format.block_bytes >> format.log2_blocks;
}

/* Four blocks of 16. */
RZ_INLINE act_4 load_act_16(const char *q)
{
    __m512i x = _mm512_loadu_si512(q);
    return (act_4){.blocks_01 = x, .sum = _mm512_dpbusd_epi32(_mm512_setzero_si512(), _mm512_set1_epi8(1), x)};
}

RZ_INLINE act_4 load_act_4(gemv_32_format format, const char *q_row, size_t k, size_t block, int n_blocks)
{
    if (format.has_min == TWO_SCALES) return load_act_16(q_row + block * 16);
    const char *q = q_row + block * 32;
    const int16_t *s = (const int16_t *)(q_row + rz_act_s_offset(k, 32)) + block;
    act_4 x;
    x.blocks_01 = _mm512_maskz_loadu_epi64(n_blocks > 1 ? 0xff : 0x0f, q);
    x.blocks_23 = _mm512_maskz_loadu_epi64(n_blocks > 3 ? 0xff : n_blocks > 2 ? 0x0f : 0, q + 64);
    x.low = _mm512_shuffle_i32x4(x.blocks_01, x.blocks_23, 0x88);
    x.high = _mm512_shuffle_i32x4(x.blocks_01, x.blocks_23, 0xdd);
    __m128i sums = _mm_cvtepi16_epi32(_mm_maskz_loadu_epi16((__mmask8)((1 << n_blocks) - 1), s));
    const __m512i lane = _mm512_set_epi32(3, 3, 3, 3, 2, 2, 2, 2, 1, 1, 1, 1, 0, 0, 0, 0);
    x.sum = _mm512_maskz_permutexvar_epi32(0x1111, lane, _mm512_castsi128_si512(sums));
    __m512i low = transpose_bytes(x.low), high = transpose_bytes(x.high);
    x.by_4[0] = _mm512_unpacklo_epi32(low, high);
    x.by_4[1] = _mm512_unpackhi_epi32(low, high);
    return x;
}

/* The input rows of a product. */
typedef struct {
    const char *q_rows;
    size_t stride, k;
    int n; /* one or two */
} inputs_32;

/* The scales of the four blocks of sixteen rows, for formats whose blocks in the file are several blocks. */
RZ_INLINE void scales_of_rows(gemv_32_format format, const char *const *row_blocks, __m512 *scale)
{
    const int n = 1 << format.log2_blocks;
#pragma GCC unroll 2
    for (int first = 0; first < 4; first += n) {
        size_t at = bytes_of_blocks(format, (size_t)first) + (size_t)format.d_at;
        __m512i dwords = _mm512_setzero_si512();
#pragma GCC unroll 16
        for (int r = 0; r < 16; r++)
            dwords = _mm512_mask_broadcastd_epi32(dwords, (__mmask16)(1u << r), _mm_loadu_si32(row_blocks[r] + at));
#pragma GCC unroll 4
        for (int b = 0; b < n; b++) {
            __m512i own = format.scales == E4M3_SCALES ? _mm512_srli_epi32(dwords, (unsigned)(8 * b)) : dwords;
            scale[first + b] = low_scales_f32(format.scales, own);
        }
    }
}

/* Finishes up to four blocks of sixteen rows: acc + scale d isum (+ min d s). */
RZ_INLINE __m512 finish_32(gemv_32_format format, const __m512 *isum, const __m512 *scale, const __m512 *min,
                           const char *q_row, size_t k, size_t block, int n_blocks, __m512 acc)
{
    const int shift = 5 - log2_elements(format);
    const float *d = (const float *)(q_row + rz_act_d_offset(k)) + (block >> shift);
    const int16_t *s = (const int16_t *)(q_row + rz_act_s_offset(k, 32)) + block;
#pragma GCC unroll 4
    for (int b = 0; b < 4; b++) {
        if (b == n_blocks) break;
        acc = _mm512_fmadd_ps(isum[b], _mm512_mul_ps(scale[b], _mm512_set1_ps(d[b >> shift])), acc);
        if (format.has_min == HAS_MIN) acc = _mm512_fmadd_ps(min[b], _mm512_set1_ps(d[b] * (float)s[b]), acc);
    }
    return acc;
}

/* Adds blocks [block, block + n_blocks) of sixteen rows to acc; each row prefetches. */
RZ_INLINE void step_32(gemv_32_format format, const char *const *row_blocks, inputs_32 in, size_t block, int n_blocks,
                       __m512 *acc)
{
    act_4 x[2];
    __m512 isum[2][4], scale[4], min[4];
#pragma GCC unroll 2
    for (int t = 0; t < in.n; t++) x[t] = load_act_4(format, in.q_rows + (size_t)t * in.stride, in.k, block, n_blocks);
#pragma GCC unroll 4
    for (int g = 0; g < 4; g++) {
        __m512i dots[2][4], scales = _mm512_setzero_si512();
#pragma GCC unroll 4
        for (int r = 0; r < 4; r++) {
#pragma GCC unroll 2
            for (int t = 0; t < in.n; t++) dots[t][r] = format.dot_4(row_blocks[4 * g + r], &x[t]);
            if (format.scales_4) scales = format.scales_4(scales, r, row_blocks[4 * g + r]);
            fetch_ahead(row_blocks[4 * g + r], AHEAD_32, bytes_of_blocks(format, 4));
        }
#pragma GCC unroll 2
        for (int t = 0; t < in.n; t++)
            isum[t][g] = _mm512_cvtepi32_ps(sum_quads_i32(dots[t][0], dots[t][1], dots[t][2], dots[t][3]));
        if (format.scales_4) scale[g] = low_scales_f32(format.scales, scales);
        if (format.has_min == HAS_MIN) min[g] = low_halves_f32(_mm512_srli_epi32(scales, 16));
    }
    if (format.scales_4)
        transpose_lanes(scale);
    else
        scales_of_rows(format, row_blocks, scale);
    if (format.has_min == HAS_MIN) transpose_lanes(min);
#pragma GCC unroll 2
    for (int t = 0; t < in.n; t++) {
        transpose_lanes(isum[t]);
        acc[t] =
            finish_32(format, isum[t], scale, min, in.q_rows + (size_t)t * in.stride, in.k, block, n_blocks, acc[t]);
    }
}

/* The number of bytes that a step may read, counted from the first byte of its blocks. */
enum { STEP_READS = 160 };

/* The last one to three blocks of the rows. A step reads beyond them: in the first n_direct rows into the next row,
 * which exists; the other rows are copied first. */
RZ_INLINE void last_step_32(gemv_32_format format, const char *const *row_blocks, int n_direct, inputs_32 in,
                            size_t block, __m512 *acc)
{
    char copies[16][STEP_READS];
    const char *readable[16];
    int n_blocks = (int)(in.k / 32 - block);
    for (int r = 0; r < 16; r++) {
        readable[r] = r < n_direct ? row_blocks[r] : copies[r];
        if (r < n_direct) continue;
        memset(copies[r], 0, STEP_READS);
        memcpy(copies[r], row_blocks[r], bytes_of_blocks(format, (size_t)n_blocks));
    }
    step_32(format, readable, in, block, n_blocks, acc);
}

/* Sixteen weight rows against one or two input rows; stores the dot products at the indices `at` of y. */
RZ_INLINE void dot_rows_32(gemv_32_format format, const char *const *rows, int n_direct, inputs_32 in, const size_t *at,
                           float *y, size_t ldy)
{
    __m512 acc[2] = {_mm512_setzero_ps(), _mm512_setzero_ps()};
    size_t block = 0, n_blocks = in.k >> log2_elements(format);
    const char *row_blocks[16];
    for (int r = 0; r < 16; r++) row_blocks[r] = rows[r];
    for (; block + 4 <= n_blocks; block += 4) {
        step_32(format, row_blocks, in, block, 4, acc);
        for (int r = 0; r < 16; r++) row_blocks[r] += bytes_of_blocks(format, 4);
    }
    if (block < n_blocks) last_step_32(format, row_blocks, n_direct, in, block, acc);
    for (int t = 0; t < in.n; t++) {
        float dots[16];
        _mm512_storeu_ps(dots, acc[t]);
        for (int s = 0; s < 16; s++) y[(size_t)t * ldy + at[s]] = dots[s];
    }
}

/* n: input rows, one or two. */
RZ_INLINE void gemv_32(gemv_32_format format, const void *w, size_t w_stride, size_t k, size_t r0, size_t r1,
                       const void *x, size_t x_stride, int n, float *y, size_t ldy)
{
    size_t n_steps = stream_steps(r0, r1, 16), at[16];
    for (size_t step = 0; step < n_steps; step++) {
        const char *rows[16];
        int n_direct = 0; /* rows that are followed by enough others */
        for (size_t s = 0; s < 16; s++) {
            at[s] = stream_row(r0, r1, n_steps, s, step);
            rows[s] = (const char *)w + at[s] * w_stride;
            n_direct += at[s] + 1 < r1 && w_stride >= STEP_READS;
        }
        dot_rows_32(format, rows, n_direct, (inputs_32){x, x_stride, k, n}, at, y, ldy);
    }
}

#endif
