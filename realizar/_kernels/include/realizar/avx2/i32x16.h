/* Sixteen dwords in two AVX2 registers: the operations that wide/attention_q4.h uses, named as in avx512/i32x16.h. */
#ifndef REALIZAR_AVX2_I32X16_H
#define REALIZAR_AVX2_I32X16_H

#include "realizar/avx2/f32x16.h"

typedef struct {
    __m256i lo, hi;
} i32x16;

RZ_INLINE i32x16 i32x16_of(__m256i lo, __m256i hi) { return (i32x16){lo, hi}; }
RZ_INLINE i32x16 i32x16_set(int32_t x) { return i32x16_of(_mm256_set1_epi32(x), _mm256_set1_epi32(x)); }
RZ_INLINE i32x16 i32x16_zero(void) { return i32x16_set(0); }

RZ_INLINE i32x16 i32x16_load(const char *p)
{
    return i32x16_of(_mm256_loadu_si256((const __m256i *)p), _mm256_loadu_si256((const __m256i *)(p + 32)));
}

/* Four bytes, or two words, in all lanes. */
RZ_INLINE i32x16 i32x16_broadcast(const void *p)
{
    int32_t x;
    memcpy(&x, p, sizeof x);
    return i32x16_set(x);
}

#define RZ_BOTH_HALVES(name, instruction)                                                                              \
    RZ_INLINE i32x16 name(i32x16 a, i32x16 b) { return i32x16_of(instruction(a.lo, b.lo), instruction(a.hi, b.hi)); }
RZ_BOTH_HALVES(i32x16_and, _mm256_and_si256)
RZ_BOTH_HALVES(i32x16_add, _mm256_add_epi32)
RZ_BOTH_HALVES(i32x16_max, _mm256_max_epi32)
#undef RZ_BOTH_HALVES

RZ_INLINE int32_t i32x16_sum(i32x16 x)
{
    __m256i x8 = _mm256_add_epi32(x.lo, x.hi);
    __m128i x4 = _mm_add_epi32(_mm256_castsi256_si128(x8), _mm256_extracti128_si256(x8, 1));
    __m128i x2 = _mm_add_epi32(x4, _mm_shuffle_epi32(x4, 0x4e));
    return _mm_cvtsi128_si32(_mm_add_epi32(x2, _mm_shuffle_epi32(x2, 0xb1)));
}

RZ_INLINE int32_t i32x16_largest(i32x16 x)
{
    __m256i x8 = _mm256_max_epi32(x.lo, x.hi);
    __m128i x4 = _mm_max_epi32(_mm256_castsi256_si128(x8), _mm256_extracti128_si256(x8, 1));
    __m128i x2 = _mm_max_epi32(x4, _mm_shuffle_epi32(x4, 0x4e));
    return _mm_cvtsi128_si32(_mm_max_epi32(x2, _mm_shuffle_epi32(x2, 0xb1)));
}

/* Logical shift to the right, and arithmetic shift; n is below 32. */
RZ_INLINE i32x16 i32x16_shift(i32x16 x, int n)
{
    __m256i by = _mm256_set1_epi32(n);
    return i32x16_of(_mm256_srlv_epi32(x.lo, by), _mm256_srlv_epi32(x.hi, by));
}

RZ_INLINE i32x16 i32x16_shift_signed(i32x16 x, int n)
{
    __m256i by = _mm256_set1_epi32(n);
    return i32x16_of(_mm256_srav_epi32(x.lo, by), _mm256_srav_epi32(x.hi, by));
}

RZ_INLINE __m256i add_bytes_half(__m256i sum, __m256i low, __m256i x_low, __m256i high, __m256i x_high)
{
    __m256i words = _mm256_add_epi16(_mm256_maddubs_epi16(low, x_low), _mm256_maddubs_epi16(high, x_high));
    return _mm256_add_epi32(sum, _mm256_madd_epi16(words, _mm256_set1_epi16(1)));
}

/* Each lane plus the products of its unsigned bytes up to 15 (low, high) with signed bytes: four of them fit in a word. */
RZ_INLINE i32x16 i32x16_add_bytes(i32x16 sum, i32x16 low, i32x16 x_low, i32x16 high, i32x16 x_high)
{
    return i32x16_of(add_bytes_half(sum.lo, low.lo, x_low.lo, high.lo, x_high.lo),
                     add_bytes_half(sum.hi, low.hi, x_low.hi, high.hi, x_high.hi));
}

/* Each lane plus the products of its signed words. */
RZ_INLINE i32x16 i32x16_add_words(i32x16 sum, i32x16 a, i32x16 b)
{
    return i32x16_of(_mm256_add_epi32(sum.lo, _mm256_madd_epi16(a.lo, b.lo)),
                     _mm256_add_epi32(sum.hi, _mm256_madd_epi16(a.hi, b.hi)));
}

RZ_INLINE f32x16 i32x16_to_f32(i32x16 x) { return f32x16_of(_mm256_cvtepi32_ps(x.lo), _mm256_cvtepi32_ps(x.hi)); }

/* To the nearest integer, ties to even. */
RZ_INLINE i32x16 f32x16_round(f32x16 x) { return i32x16_of(_mm256_cvtps_epi32(x.lo), _mm256_cvtps_epi32(x.hi)); }

/* The bits of |x|. */
RZ_INLINE i32x16 f32x16_size_bits(f32x16 x)
{
    f32x16 size = f32x16_abs(x);
    return i32x16_of(_mm256_castps_si256(size.lo), _mm256_castps_si256(size.hi));
}

/* Lanes that fit in words; vpackssdw packs each half of its inputs. */
RZ_INLINE void i32x16_store_words(int16_t *p, i32x16 x)
{
    __m256i packed = _mm256_packs_epi32(x.lo, x.hi);
    _mm256_storeu_si256((__m256i *)p, _mm256_permute4x64_epi64(packed, 0xd8));
}

#endif
