/* The two-bit elements of Q2_0 and PQ2_0, in their order in a block. */
#ifndef REALIZAR_AVX512_BIT_PAIRS_H
#define REALIZAR_AVX512_BIT_PAIRS_H

#include "realizar/avx512/gemv_32.h"

/* packed: the bit pairs of block b of 32 elements in qword b; they are offset by 1. */
RZ_INLINE __m512i dot_pairs_4(__m256i packed, const act_4 *x)
{
    const __m512i twice = _mm512_set_epi64(3, 3, 2, 2, 1, 1, 0, 0), mask = _mm512_set1_epi8(3);
    const __m512i by_0_2 = _mm512_set4_epi64(2, 0, 2, 0), by_4_6 = _mm512_set4_epi64(6, 4, 6, 4);
    __m512i v = _mm512_permutexvar_epi64(twice, _mm512_castsi256_si512(packed));
    __m512i first = _mm512_and_si512(_mm512_srlv_epi64(v, by_0_2), mask);
    __m512i second = _mm512_and_si512(_mm512_srlv_epi64(v, by_4_6), mask);
    __m512i start = _mm512_sub_epi32(_mm512_setzero_si512(), x->sum);
    return _mm512_dpbusd_epi32(_mm512_dpbusd_epi32(start, first, x->by_4[0]), second, x->by_4[1]);
}

/* Sixty-four elements of sixteen bytes, plus one: offset by 2. Lane j has elements 4 i + j, which are transposed. */
RZ_INLINE __m512i unpack_pairs_64(const uint8_t *qs)
{
    const __m512i by_0_2_4_6 = _mm512_set_epi64(6, 6, 4, 4, 2, 2, 0, 0);
    const __m512i quads = _mm512_set_epi32(15, 11, 7, 3, 14, 10, 6, 2, 13, 9, 5, 1, 12, 8, 4, 0);
    __m512i v = _mm512_srlv_epi64(_mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i *)qs)), by_0_2_4_6);
    v = _mm512_add_epi8(_mm512_and_si512(v, _mm512_set1_epi8(3)), _mm512_set1_epi8(1));
    return transpose_bytes(_mm512_permutexvar_epi32(quads, v));
}

#endif
