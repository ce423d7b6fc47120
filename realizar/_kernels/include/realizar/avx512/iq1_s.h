/* IQ1_S: codewords of eight from 2048, a delta and a scale for 32 elements. */
#ifndef REALIZAR_AVX512_IQ1_S_H
#define REALIZAR_AVX512_IQ1_S_H

#include "realizar/avx512/ternary.h"

/* The elements [64 i, 64 i + 64) without their deltas; two words of upper bits, each for 32 elements. */
RZ_INLINE __m512i iq1_s_words(const rz_block_iq1_s *block, size_t i)
{
    const __m512i to_bit_8 = _mm512_set_epi64(17, 14, 11, 8, 1, -2, -5, -8);
    return ternary_words(block->qs + 8 * i, _mm512_rorv_epi64(load_twice(block->qh + 2 * i), to_bit_8));
}

static inline __m512i iq1_s_unpack_64(const char *row, size_t i)
{
    const __m512i to_top = _mm512_set_epi64(32, 32, 32, 32, 48, 48, 48, 48);
    const rz_block_iq1_s *block = (const rz_block_iq1_s *)row + i / 4;
    return add_deltas(iq1_s_words(block, i % 4), _mm512_sllv_epi64(load_twice(block->qh + i % 4 * 2), to_top));
}

/* A delta is that of 32 elements, so it is applied to their sums. */
static inline __m512i iq1_s_dot_256(const char *data, __m512i unused, const act_256 *x)
{
    const rz_block_iq1_s *block = (const rz_block_iq1_s *)data;
    __m256i scales = iq1_s_scales(data), high = _mm256_cvtepi16_epi32(_mm_loadu_si128((const __m128i *)block->qh));
    __m256i negative = _mm256_slli_epi16(_mm256_srai_epi32(high, 31), 1);
    __m512i dot = sum_offsets(scales, _mm256_add_epi16(negative, _mm256_set1_epi16(1 - IQ1_BIAS)), x);
    (void)unused;
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) dot = add_unsigned_64(dot, iq1_s_words(block, (size_t)i), x, i, scales);
    return dot;
}

RZ_CODEWORDS(iq1_s, RZ_IQ1_S, eighth_d, first_halves, 16, 16, NARROW, IQ1_BIAS, 3)

#endif
