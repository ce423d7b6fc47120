/* Shared by IQ1_S and IQ1_M: elements 8 * v + delta, offset by 16. */
#ifndef REALIZAR_AVX512_TERNARY_H
#define REALIZAR_AVX512_TERNARY_H

#include "realizar/avx512/codewords.h"

enum { IQ1_BIAS = 16 };

/* Four bytes in both dwords of each qword: a rotated qword has the same bits as a rotated dword, and a broadcast of
 * dwords from memory needs no port of the vector unit. */
RZ_INLINE __m512i load_twice(const void *p)
{
    int32_t dword;
    memcpy(&dword, p, sizeof dword);
    return _mm512_set1_epi32(dword);
}

/* Without the deltas; high: the upper three bits of the indices at bits 8 to 10. */
RZ_INLINE __m512i ternary_words(const uint8_t *qs, __m512i high)
{
    __m512i index = _mm512_or_si512(bytes_as_qwords(qs), _mm512_and_si512(high, _mm512_set1_epi64(0x700)));
    return codewords_of_8(rz_iq1_s_grid, index);
}

/* Adds to each qword of elements -1 where the sign bit of `deltas` is set, else 1. */
RZ_INLINE __m512i add_deltas(__m512i words, __m512i deltas)
{
    return _mm512_add_epi8(words, _mm512_or_si512(_mm512_srai_epi64(deltas, 63), _mm512_set1_epi8(1)));
}

/* The sum of scale * offset * x over the groups of 16, in eight dwords; other dwords are zero. */
RZ_INLINE __m512i sum_offsets(__m256i scales, __m256i offsets, const act_256 *x)
{
    __m256i sums = _mm256_loadu_si256((const __m256i *)x->sums);
    return _mm512_zextsi256_si512(_mm256_madd_epi16(_mm256_mullo_epi16(scales, offsets), sums));
}

/* dot plus the products of 64 unsigned elements and those of a token, times the scales. */
RZ_INLINE __m512i add_unsigned_64(__m512i dot, __m512i q, const act_256 *x, int i, __m256i scales)
{
    return _mm512_dpwssd_epi32(dot, _mm512_maddubs_epi16(q, act_64(x, i)), scales_of_64(scales, i));
}

#endif
