/* Sixteen floats in one AVX-512 register: the operations that wide/ uses, with the same names in each f32x16.h. */
#ifndef REALIZAR_AVX512_F32X16_H
#define REALIZAR_AVX512_F32X16_H

#include <stddef.h>
#include <stdint.h>

#include "realizar/target.h"

/* Shapes (rows * columns) of wide/outer.h: the sums, the columns and one broadcast must fit into 32 registers. 7 * 4 do
 * not quite fit, but one pass over K and V instead of two is worth the spills (4 % of a step's time in attention). */
#define RZ_OUTER_SHAPES(X)                                                                                             \
    X(1, 4) X(2, 4) X(3, 4) X(4, 4) X(5, 4) X(6, 4) X(7, 4) X(8, 2) X(9, 2) X(10, 2) X(11, 2) X(12, 2)
#define RZ_OUTER_ROWS 12
#define RZ_OUTER_COLS 4
/* Whether attention converts a tile of half floats once for many queries: here conversions use the ports of fma. */
#define RZ_UNPACKS_HALVES 1
/* Block of wide/scan.h: sums, inputs, decays and a tile of the state fit into 32 registers. */
#define RZ_SCAN_TOKENS 4
#define RZ_SCAN_TILES 2
/* Tiles of wide/delta.h: 32 KiB of the state for 128 key channels, which fits L1. */
#define RZ_DELTA_TILES 4

typedef __m512 f32x16;

/* Mask of the lanes below n; all lanes if n >= 16. */
RZ_INLINE __mmask16 first_lanes(size_t n) { return n >= 16 ? 0xffff : (__mmask16)((1u << n) - 1); }

RZ_INLINE f32x16 f32x16_zero(void) { return _mm512_setzero_ps(); }
RZ_INLINE f32x16 f32x16_set(float x) { return _mm512_set1_ps(x); }
RZ_INLINE f32x16 f32x16_load(const float *p) { return _mm512_loadu_ps(p); }
RZ_INLINE void f32x16_store(float *p, f32x16 x) { _mm512_storeu_ps(p, x); }

/* The first n elements (all if n >= 16); the others are zero and their memory is not accessed. */
RZ_INLINE f32x16 f32x16_load_first(const float *p, size_t n)
{
    return n >= 16 ? _mm512_loadu_ps(p) : _mm512_maskz_loadu_ps(first_lanes(n), p);
}

RZ_INLINE void f32x16_store_first(float *p, f32x16 x, size_t n)
{
    if (n >= 16)
        _mm512_storeu_ps(p, x);
    else
        _mm512_mask_storeu_ps(p, first_lanes(n), x);
}

RZ_INLINE f32x16 f32x16_load_f16(const uint16_t *p) { return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)p)); }

RZ_INLINE f32x16 f32x16_load_first_f16(const uint16_t *p, size_t n)
{
    return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(first_lanes(n), p));
}

RZ_INLINE void f32x16_store_first_f16(uint16_t *p, f32x16 x, size_t n)
{
    __m256i half = _mm512_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    _mm256_mask_storeu_epi16(p, first_lanes(n), half);
}

RZ_INLINE f32x16 f32x16_load_int8(const int8_t *p)
{
    return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)p)));
}

RZ_INLINE f32x16 f32x16_load_first_int8(const int8_t *p, size_t n)
{
    return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_maskz_loadu_epi8(first_lanes(n), p)));
}

RZ_INLINE f32x16 f32x16_add(f32x16 a, f32x16 b) { return _mm512_add_ps(a, b); }
RZ_INLINE f32x16 f32x16_sub(f32x16 a, f32x16 b) { return _mm512_sub_ps(a, b); }
RZ_INLINE f32x16 f32x16_mul(f32x16 a, f32x16 b) { return _mm512_mul_ps(a, b); }
RZ_INLINE f32x16 f32x16_div(f32x16 a, f32x16 b) { return _mm512_div_ps(a, b); }
RZ_INLINE f32x16 f32x16_fma(f32x16 a, f32x16 b, f32x16 c) { return _mm512_fmadd_ps(a, b, c); }

/* a > b ? a : b, and a < b ? a : b; the result is b if one is NaN. */
RZ_INLINE f32x16 f32x16_max(f32x16 a, f32x16 b) { return _mm512_max_ps(a, b); }
RZ_INLINE f32x16 f32x16_min(f32x16 a, f32x16 b) { return _mm512_min_ps(a, b); }

RZ_INLINE f32x16 f32x16_abs(f32x16 x) { return _mm512_abs_ps(x); }

/* The magnitude `size` (>= 0) with the sign of `sign`. */
RZ_INLINE f32x16 f32x16_copysign(f32x16 size, f32x16 sign)
{
    return _mm512_or_ps(size, _mm512_and_ps(sign, _mm512_set1_ps(-0.0f)));
}

/* a < b ? yes : no. */
RZ_INLINE f32x16 f32x16_if_less(f32x16 a, f32x16 b, f32x16 yes, f32x16 no)
{
    return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(a, b, _CMP_LT_OQ), no, yes);
}

/* x in lanes [first, end), `other` elsewhere. Bounds outside [0, 16] are clamped. */
RZ_INLINE f32x16 f32x16_within(f32x16 x, int first, int end, f32x16 other)
{
    uint32_t below_end = first_lanes(end < 0 ? 0 : (size_t)end), below = first_lanes(first < 0 ? 0 : (size_t)first);
    return _mm512_mask_blend_ps((__mmask16)(below_end & ~below), other, x);
}

/* x * 2^n, n integral, rounded once. */
RZ_INLINE f32x16 f32x16_ldexp(f32x16 x, f32x16 n) { return _mm512_scalef_ps(x, n); }

/* 16 -> 8 -> 4 -> 2 -> 1, lane j taking lane j + half. */
RZ_INLINE float f32x16_sum(f32x16 x)
{
    __m256 x8 = _mm256_add_ps(_mm512_castps512_ps256(x), _mm512_extractf32x8_ps(x, 1));
    __m128 x4 = _mm_add_ps(_mm256_castps256_ps128(x8), _mm256_extractf128_ps(x8, 1));
    __m128 x2 = _mm_add_ps(x4, _mm_movehl_ps(x4, x4));
    return _mm_cvtss_f32(_mm_add_ss(x2, _mm_movehdup_ps(x2)));
}

/* The largest lane; none may be NaN. */
RZ_INLINE float f32x16_largest(f32x16 x) { return _mm512_reduce_max_ps(x); }

/* Exchanges lanes 2i and 2i + 1. */
RZ_INLINE f32x16 f32x16_swap_pairs(f32x16 x) { return _mm512_permute_ps(x, 0xb1); }

/* For each pair of lanes i and i + distance (bit `distance` of i is 0): the sum in the first lane, the difference in
 * the second. distance is 1, 2, 4 or 8. */
RZ_INLINE f32x16 f32x16_butterfly(f32x16 x, int distance)
{
    const f32x16 sign = _mm512_set1_ps(-0.0f);
    switch (distance) {
    case 1:
        return _mm512_add_ps(_mm512_permute_ps(x, 0xb1), _mm512_mask_xor_ps(x, 0xaaaa, x, sign));
    case 2:
        return _mm512_add_ps(_mm512_permute_ps(x, 0x4e), _mm512_mask_xor_ps(x, 0xcccc, x, sign));
    case 4:
        return _mm512_add_ps(_mm512_shuffle_f32x4(x, x, 0xb1), _mm512_mask_xor_ps(x, 0xf0f0, x, sign));
    default:
        return _mm512_add_ps(_mm512_shuffle_f32x4(x, x, 0x4e), _mm512_mask_xor_ps(x, 0xff00, x, sign));
    }
}

/* Transposes: lane i of x[j] becomes lane j of x[i]. First pairs, then groups of four in each quarter of the registers,
 * then the quarters. */
RZ_INLINE void f32x16_transpose(f32x16 *x)
{
    f32x16 y[16];
    for (int i = 0; i < 16; i += 2) {
        y[i] = _mm512_unpacklo_ps(x[i], x[i + 1]);
        y[i + 1] = _mm512_unpackhi_ps(x[i], x[i + 1]);
    }
    for (int i = 0; i < 16; i += 4)
        for (int j = 0; j < 2; j++) {
            __m512d a = _mm512_castps_pd(y[i + j]), b = _mm512_castps_pd(y[i + j + 2]);
            x[i + 2 * j] = _mm512_castpd_ps(_mm512_unpacklo_pd(a, b));
            x[i + 2 * j + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(a, b));
        }
    for (int i = 0; i < 4; i++) { /* x[4k + i]: lane i of each quarter, of rows 4k to 4k + 3 */
        f32x16 low = _mm512_shuffle_f32x4(x[i], x[4 + i], 0x88), high = _mm512_shuffle_f32x4(x[8 + i], x[12 + i], 0x88);
        f32x16 low2 = _mm512_shuffle_f32x4(x[i], x[4 + i], 0xdd),
               high2 = _mm512_shuffle_f32x4(x[8 + i], x[12 + i], 0xdd);
        y[i] = _mm512_shuffle_f32x4(low, high, 0x88);
        y[8 + i] = _mm512_shuffle_f32x4(low, high, 0xdd);
        y[4 + i] = _mm512_shuffle_f32x4(low2, high2, 0x88);
        y[12 + i] = _mm512_shuffle_f32x4(low2, high2, 0xdd);
    }
    for (int i = 0; i < 16; i++) x[i] = y[i];
}

/* Repeats each of 8 floats twice. */
RZ_INLINE f32x16 f32x16_load_twice(const float *p)
{
    __m512i twice = _mm512_set_epi32(7, 7, 6, 6, 5, 5, 4, 4, 3, 3, 2, 2, 1, 1, 0, 0);
    return _mm512_permutexvar_ps(twice, _mm512_castps256_ps512(_mm256_loadu_ps(p)));
}

/* Negates the even lanes. */
RZ_INLINE f32x16 f32x16_negate_even(f32x16 x)
{
    return _mm512_xor_ps(x, _mm512_castsi512_ps(_mm512_set1_epi64(0x80000000)));
}

#endif
