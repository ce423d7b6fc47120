/* Sixteen dwords in one AVX-512 register: the operations that wide/attention_q4.h uses, named as in avx2/i32x16.h. */
#ifndef REALIZAR_AVX512_I32X16_H
#define REALIZAR_AVX512_I32X16_H

#include <string.h>

#include "realizar/avx512/f32x16.h"

typedef __m512i i32x16;

RZ_INLINE i32x16 i32x16_zero(void) { return _mm512_setzero_si512(); }
RZ_INLINE i32x16 i32x16_set(int32_t x) { return _mm512_set1_epi32(x); }
RZ_INLINE i32x16 i32x16_load(const char *p) { return _mm512_loadu_si512(p); }

/* Four bytes, or two words, in all lanes. */
RZ_INLINE i32x16 i32x16_broadcast(const void *p)
{
    int32_t x;
    memcpy(&x, p, sizeof x);
    return _mm512_set1_epi32(x);
}

RZ_INLINE i32x16 i32x16_and(i32x16 a, i32x16 b) { return _mm512_and_si512(a, b); }
RZ_INLINE i32x16 i32x16_add(i32x16 a, i32x16 b) { return _mm512_add_epi32(a, b); }
RZ_INLINE i32x16 i32x16_max(i32x16 a, i32x16 b) { return _mm512_max_epi32(a, b); }
RZ_INLINE int32_t i32x16_sum(i32x16 x) { return _mm512_reduce_add_epi32(x); }
RZ_INLINE int32_t i32x16_largest(i32x16 x) { return _mm512_reduce_max_epi32(x); }

/* Logical shift to the right, and arithmetic shift; n is below 32. */
RZ_INLINE i32x16 i32x16_shift(i32x16 x, int n) { return _mm512_srlv_epi32(x, _mm512_set1_epi32(n)); }
RZ_INLINE i32x16 i32x16_shift_signed(i32x16 x, int n) { return _mm512_srav_epi32(x, _mm512_set1_epi32(n)); }

/* Each lane plus the products of its unsigned bytes up to 15 (low, high) with signed bytes. */
RZ_INLINE i32x16 i32x16_add_bytes(i32x16 sum, i32x16 low, i32x16 x_low, i32x16 high, i32x16 x_high)
{
    return _mm512_dpbusd_epi32(_mm512_dpbusd_epi32(sum, low, x_low), high, x_high);
}

/* Each lane plus the products of its signed words. */
RZ_INLINE i32x16 i32x16_add_words(i32x16 sum, i32x16 a, i32x16 b) { return _mm512_dpwssd_epi32(sum, a, b); }

RZ_INLINE f32x16 i32x16_to_f32(i32x16 x) { return _mm512_cvtepi32_ps(x); }
/* To the nearest integer, ties to even. */
RZ_INLINE i32x16 f32x16_round(f32x16 x) { return _mm512_cvtps_epi32(x); }
/* The bits of |x|. */
RZ_INLINE i32x16 f32x16_size_bits(f32x16 x) { return _mm512_castps_si512(_mm512_abs_ps(x)); }
/* Lanes that fit in words. */
RZ_INLINE void i32x16_store_words(int16_t *p, i32x16 x) { _mm256_storeu_si256((__m256i *)p, _mm512_cvtepi32_epi16(x)); }

#endif
