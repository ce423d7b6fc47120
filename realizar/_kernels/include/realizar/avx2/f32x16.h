/* Sixteen floats in two AVX2 registers: the operations that wide/ uses, with the same names in each f32x16.h. */
#ifndef REALIZAR_AVX2_F32X16_H
#define REALIZAR_AVX2_F32X16_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "realizar/target.h"

/* Shapes (rows * columns) of wide/outer.h: twice rows * columns sums, two loaded vectors and one broadcast fit into 16
 * registers. */
#define RZ_OUTER_SHAPES(X) X(1, 1) X(2, 1) X(3, 1) X(4, 1) X(5, 1) X(6, 1)
#define RZ_OUTER_ROWS 6
#define RZ_OUTER_COLS 1
/* Whether attention converts a tile of half floats once for many queries: 4 % slower here, because floats take more
 * loads. */
#define RZ_UNPACKS_HALVES 0
/* Block of wide/scan.h: twice the sums, inputs and a tile of the state, and the decays, fit into 16 registers. */
#define RZ_SCAN_TOKENS 2
#define RZ_SCAN_TILES 1
/* Tiles of wide/delta.h. */
#define RZ_DELTA_TILES 2

typedef struct {
    __m256 lo, hi;
} f32x16;

RZ_INLINE f32x16 f32x16_of(__m256 lo, __m256 hi) { return (f32x16){lo, hi}; }

/* Mask of the lanes below n of a half. */
RZ_INLINE __m256i first_lanes(int n)
{
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

RZ_INLINE f32x16 f32x16_set(float x) { return f32x16_of(_mm256_set1_ps(x), _mm256_set1_ps(x)); }
RZ_INLINE f32x16 f32x16_zero(void) { return f32x16_set(0); }
RZ_INLINE f32x16 f32x16_load(const float *p) { return f32x16_of(_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)); }

RZ_INLINE void f32x16_store(float *p, f32x16 x)
{
    _mm256_storeu_ps(p, x.lo);
    _mm256_storeu_ps(p + 8, x.hi);
}

/* The first n elements (all if n >= 16); the others are zero and their memory is not accessed. */
RZ_INLINE f32x16 f32x16_load_first(const float *p, size_t n)
{
    if (n >= 16) return f32x16_load(p);
    return f32x16_of(_mm256_maskload_ps(p, first_lanes((int)n)), _mm256_maskload_ps(p + 8, first_lanes((int)n - 8)));
}

RZ_INLINE void f32x16_store_first(float *p, f32x16 x, size_t n)
{
    if (n >= 16) {
        f32x16_store(p, x);
    } else {
        _mm256_maskstore_ps(p, first_lanes((int)n), x.lo);
        _mm256_maskstore_ps(p + 8, first_lanes((int)n - 8), x.hi);
    }
}

RZ_INLINE f32x16 f32x16_load_f16(const uint16_t *p)
{
    return f32x16_of(_mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)p)),
                     _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(p + 8))));
}

RZ_INLINE f32x16 f32x16_load_first_f16(const uint16_t *p, size_t n)
{
    uint16_t whole[16] = {0};
    memcpy(whole, p, (n < 16 ? n : 16) * sizeof *p);
    return f32x16_load_f16(whole);
}

RZ_INLINE void f32x16_store_first_f16(uint16_t *p, f32x16 x, size_t n)
{
    uint16_t whole[16];
    _mm_storeu_si128((__m128i *)whole, _mm256_cvtps_ph(x.lo, _MM_FROUND_TO_NEAREST_INT));
    _mm_storeu_si128((__m128i *)(whole + 8), _mm256_cvtps_ph(x.hi, _MM_FROUND_TO_NEAREST_INT));
    memcpy(p, whole, (n < 16 ? n : 16) * sizeof *p);
}

RZ_INLINE f32x16 f32x16_load_int8(const int8_t *p)
{
    __m128i q = _mm_loadu_si128((const __m128i *)p);
    return f32x16_of(_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(q)),
                     _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_srli_si128(q, 8))));
}

RZ_INLINE f32x16 f32x16_load_first_int8(const int8_t *p, size_t n)
{
    int8_t whole[16] = {0};
    memcpy(whole, p, n < 16 ? n : 16);
    return f32x16_load_int8(whole);
}

#define RZ_BOTH_HALVES(name, instruction)                                                                              \
    RZ_INLINE f32x16 name(f32x16 a, f32x16 b) { return f32x16_of(instruction(a.lo, b.lo), instruction(a.hi, b.hi)); }
RZ_BOTH_HALVES(f32x16_add, _mm256_add_ps)
RZ_BOTH_HALVES(f32x16_sub, _mm256_sub_ps)
RZ_BOTH_HALVES(f32x16_mul, _mm256_mul_ps)
RZ_BOTH_HALVES(f32x16_div, _mm256_div_ps)
/* a > b ? a : b, and a < b ? a : b; the result is b if one is NaN. */
RZ_BOTH_HALVES(f32x16_max, _mm256_max_ps)
RZ_BOTH_HALVES(f32x16_min, _mm256_min_ps)
#undef RZ_BOTH_HALVES

RZ_INLINE f32x16 f32x16_fma(f32x16 a, f32x16 b, f32x16 c)
{
    return f32x16_of(_mm256_fmadd_ps(a.lo, b.lo, c.lo), _mm256_fmadd_ps(a.hi, b.hi, c.hi));
}

RZ_INLINE f32x16 f32x16_abs(f32x16 x)
{
    __m256 sign = _mm256_set1_ps(-0.0f);
    return f32x16_of(_mm256_andnot_ps(sign, x.lo), _mm256_andnot_ps(sign, x.hi));
}

/* The magnitude `size` (>= 0) with the sign of `sign`. */
RZ_INLINE f32x16 f32x16_copysign(f32x16 size, f32x16 sign)
{
    __m256 bit = _mm256_set1_ps(-0.0f);
    return f32x16_of(_mm256_or_ps(size.lo, _mm256_and_ps(sign.lo, bit)),
                     _mm256_or_ps(size.hi, _mm256_and_ps(sign.hi, bit)));
}

/* a < b ? yes : no. */
RZ_INLINE f32x16 f32x16_if_less(f32x16 a, f32x16 b, f32x16 yes, f32x16 no)
{
    return f32x16_of(_mm256_blendv_ps(no.lo, yes.lo, _mm256_cmp_ps(a.lo, b.lo, _CMP_LT_OQ)),
                     _mm256_blendv_ps(no.hi, yes.hi, _mm256_cmp_ps(a.hi, b.hi, _CMP_LT_OQ)));
}

/* x in lanes [first, end), `other` elsewhere. Bounds outside [0, 16] are clamped. */
RZ_INLINE f32x16 f32x16_within(f32x16 x, int first, int end, f32x16 other)
{
    __m256i lo = _mm256_andnot_si256(first_lanes(first), first_lanes(end));
    __m256i hi = _mm256_andnot_si256(first_lanes(first - 8), first_lanes(end - 8));
    return f32x16_of(_mm256_blendv_ps(other.lo, x.lo, _mm256_castsi256_ps(lo)),
                     _mm256_blendv_ps(other.hi, x.hi, _mm256_castsi256_ps(hi)));
}

/* In two steps, since 2^n alone may be out of range; the first is exact. */
RZ_INLINE __m256 ldexp_half(__m256 x, __m256 n)
{
    __m256i exponent = _mm256_cvtps_epi32(n), bias = _mm256_set1_epi32(127);
    __m256i half = _mm256_srai_epi32(exponent, 1), rest = _mm256_sub_epi32(exponent, half);
    x = _mm256_mul_ps(x, _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(half, bias), 23)));
    return _mm256_mul_ps(x, _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(rest, bias), 23)));
}

/* x * 2^n, n integral, rounded once; x is near 1 and n in [-252, 254]. */
RZ_INLINE f32x16 f32x16_ldexp(f32x16 x, f32x16 n) { return f32x16_of(ldexp_half(x.lo, n.lo), ldexp_half(x.hi, n.hi)); }

/* 16 -> 8 -> 4 -> 2 -> 1, lane j taking lane j + half. */
RZ_INLINE float f32x16_sum(f32x16 x)
{
    __m256 x8 = _mm256_add_ps(x.lo, x.hi);
    __m128 x4 = _mm_add_ps(_mm256_castps256_ps128(x8), _mm256_extractf128_ps(x8, 1));
    __m128 x2 = _mm_add_ps(x4, _mm_movehl_ps(x4, x4));
    return _mm_cvtss_f32(_mm_add_ss(x2, _mm_movehdup_ps(x2)));
}

/* The largest lane; none may be NaN. */
RZ_INLINE float f32x16_largest(f32x16 x)
{
    __m256 x8 = _mm256_max_ps(x.lo, x.hi);
    __m128 x4 = _mm_max_ps(_mm256_castps256_ps128(x8), _mm256_extractf128_ps(x8, 1));
    __m128 x2 = _mm_max_ps(x4, _mm_movehl_ps(x4, x4));
    return _mm_cvtss_f32(_mm_max_ss(x2, _mm_movehdup_ps(x2)));
}

/* Exchanges lanes 2i and 2i + 1. */
RZ_INLINE f32x16 f32x16_swap_pairs(f32x16 x)
{
    return f32x16_of(_mm256_permute_ps(x.lo, 0xb1), _mm256_permute_ps(x.hi, 0xb1));
}

/* f32x16_butterfly within a half. */
RZ_INLINE __m256 butterfly_half(__m256 x, int distance)
{
    const float n = -0.0f;
    switch (distance) {
    case 1:
        return _mm256_add_ps(_mm256_permute_ps(x, 0xb1), _mm256_xor_ps(x, _mm256_setr_ps(0, n, 0, n, 0, n, 0, n)));
    case 2:
        return _mm256_add_ps(_mm256_permute_ps(x, 0x4e), _mm256_xor_ps(x, _mm256_setr_ps(0, 0, n, n, 0, 0, n, n)));
    default:
        return _mm256_add_ps(_mm256_permute2f128_ps(x, x, 1), _mm256_xor_ps(x, _mm256_setr_ps(0, 0, 0, 0, n, n, n, n)));
    }
}

/* For each pair of lanes i and i + distance (bit `distance` of i is 0): the sum in the first lane, the difference in
 * the second. distance is 1, 2, 4 or 8. */
RZ_INLINE f32x16 f32x16_butterfly(f32x16 x, int distance)
{
    if (distance == 8) return f32x16_of(_mm256_add_ps(x.lo, x.hi), _mm256_sub_ps(x.lo, x.hi));
    return f32x16_of(butterfly_half(x.lo, distance), butterfly_half(x.hi, distance));
}

/* Repeats each of 8 floats twice. */
RZ_INLINE f32x16 f32x16_load_twice(const float *p)
{
    __m256 x = _mm256_loadu_ps(p);
    return f32x16_of(_mm256_permutevar8x32_ps(x, _mm256_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3)),
                     _mm256_permutevar8x32_ps(x, _mm256_setr_epi32(4, 4, 5, 5, 6, 6, 7, 7)));
}

/* Negates the even lanes. */
RZ_INLINE f32x16 f32x16_negate_even(f32x16 x)
{
    __m256 even = _mm256_setr_ps(-0.0f, 0, -0.0f, 0, -0.0f, 0, -0.0f, 0);
    return f32x16_of(_mm256_xor_ps(x.lo, even), _mm256_xor_ps(x.hi, even));
}

/* Transposes eight rows of eight floats. */
RZ_INLINE void transpose_8x8(__m256 *x)
{
    __m256 y[8];
    for (int i = 0; i < 8; i += 2) {
        y[i] = _mm256_unpacklo_ps(x[i], x[i + 1]);
        y[i + 1] = _mm256_unpackhi_ps(x[i], x[i + 1]);
    }
    for (int i = 0; i < 8; i += 4)
        for (int j = 0; j < 2; j++) {
            __m256d a = _mm256_castps_pd(y[i + j]), b = _mm256_castps_pd(y[i + j + 2]);
            x[i + 2 * j] = _mm256_castpd_ps(_mm256_unpacklo_pd(a, b));
            x[i + 2 * j + 1] = _mm256_castpd_ps(_mm256_unpackhi_pd(a, b));
        }
    for (int i = 0; i < 4; i++) {
        __m256 a = x[i], b = x[4 + i];
        x[i] = _mm256_permute2f128_ps(a, b, 0x20);
        x[4 + i] = _mm256_permute2f128_ps(a, b, 0x31);
    }
}

/* Transposes: lane i of x[j] becomes lane j of x[i]. */
RZ_INLINE void f32x16_transpose(f32x16 *x)
{
    __m256 quarter[4][8]; /* rows 0 to 7, then 8 to 15, of the lower and the upper lanes */
    for (int i = 0; i < 8; i++) {
        quarter[0][i] = x[i].lo, quarter[1][i] = x[i].hi;
        quarter[2][i] = x[8 + i].lo, quarter[3][i] = x[8 + i].hi;
    }
    for (int i = 0; i < 4; i++) transpose_8x8(quarter[i]);
    for (int i = 0; i < 8; i++) {
        x[i] = f32x16_of(quarter[0][i], quarter[2][i]);
        x[8 + i] = f32x16_of(quarter[1][i], quarter[3][i]);
    }
}

#endif
