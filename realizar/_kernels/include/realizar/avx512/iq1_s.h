/* IQ1_S: codewords of eight from 2048, a delta and a scale for 32 elements. */
#ifndef REALIZAR_AVX512_IQ1_S_H
#define REALIZAR_AVX512_IQ1_S_H

#include "realizar/avx512/ternary.h"

/* The elements [64 i, 64 i + 64); two words of upper bits, each for four codewords. */
RZ_INLINE __m512i iq1_s_elements(const rz_block_iq1_s *block, size_t i)
{
    const __m512i to_bit_8 = _mm512_set_epi64(17, 14, 11, 8, 1, -2, -5, -8);
    const __m512i to_top = _mm512_set_epi64(32, 32, 32, 32, 48, 48, 48, 48);
    uint32_t two;
    memcpy(&two, block->qh + 2 * i, sizeof two);
    __m512i high = _mm512_set1_epi64(two);
    return ternary_elements(block->qs + 8 * i, _mm512_rorv_epi64(high, to_bit_8), _mm512_sllv_epi64(high, to_top));
}

static inline __m512i iq1_s_unpack_64(const char *row, size_t i)
{
    return iq1_s_elements((const rz_block_iq1_s *)row + i / 4, i % 4);
}

static inline __m512i iq1_s_dot_256(const char *data, __m512i unused, const act_256 *x)
{
    __m256i scales = iq1_s_scales(data);
    __m512i dot = _mm512_setzero_si512();
    (void)unused;
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        __m512i words = _mm512_maddubs_epi16(iq1_s_unpack_64(data, (size_t)i), act_64(x, i));
        dot = _mm512_dpwssd_epi32(dot, words, scales_of_64(scales, i));
    }
    return dot;
}

static inline scales_256 iq1_s_scales_256(const char *const *blocks)
{
    return with_scales(eighth_d(blocks), iq1_s_scales, blocks);
}

RZ_CODEWORDS(iq1_s, RZ_IQ1_S, iq1_s_scales_256, first_halves, IQ1_BIAS_BITS, 16, 16, NARROW, IQ1_BIAS, 3)

#endif
