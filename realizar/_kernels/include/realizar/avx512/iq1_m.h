/* IQ1_M: codewords of eight from 2048, a delta for each, sixteen scales; d is in the upper bits of these. */
#ifndef REALIZAR_AVX512_IQ1_M_H
#define REALIZAR_AVX512_IQ1_M_H

#include "realizar/avx512/ternary.h"

/* The elements [64 i, 64 i + 64); a nibble of upper bits and delta for each codeword. */
RZ_INLINE __m512i iq1_m_elements(const rz_block_iq1_m *block, size_t i)
{
    const __m512i to_bit_8 = _mm512_set_epi64(20, 16, 12, 8, 4, 0, -4, -8);
    const __m512i to_top = _mm512_set_epi64(32, 36, 40, 44, 48, 52, 56, 60);
    uint32_t nibbles;
    memcpy(&nibbles, block->qh + 4 * i, sizeof nibbles);
    __m512i high = _mm512_set1_epi64(nibbles);
    return ternary_elements(block->qs + 8 * i, _mm512_rorv_epi64(high, to_bit_8), _mm512_sllv_epi64(high, to_top));
}

static inline __m512i iq1_m_unpack_64(const char *row, size_t i)
{
    return iq1_m_elements((const rz_block_iq1_m *)row + i / 4, i % 4);
}

static inline __m512i iq1_m_dot_256(const char *data, __m512i unused, const act_256 *x)
{
    __m256i scales = iq1_m_scales(data);
    __m512i dot = _mm512_setzero_si512();
    (void)unused;
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        __m512i words = _mm512_maddubs_epi16(iq1_m_unpack_64(data, (size_t)i), act_64(x, i));
        dot = _mm512_dpwssd_epi32(dot, words, scales_of_64(scales, i));
    }
    return dot;
}

static inline scales_256 iq1_m_scales_256(const char *const *blocks)
{
    uint16_t halves[4];
    const char *d[4];
    for (int r = 0; r < 4; r++) {
        halves[r] = iq1_m_d(blocks[r]);
        d[r] = (const char *)&halves[r];
    }
    return with_scales(eighth_d(d), iq1_m_scales, blocks);
}

/* d of sixteen rows. */
RZ_INLINE __m512i iq1_m_halves(const char *const *blocks)
{
    int32_t halves[16];
    for (int r = 0; r < 16; r++) halves[r] = iq1_m_d(blocks[r]);
    return _mm512_loadu_si512(halves);
}

RZ_CODEWORDS(iq1_m, RZ_IQ1_M, iq1_m_scales_256, iq1_m_halves, IQ1_BIAS_BITS, 16, 16, NARROW, IQ1_BIAS, 3)

#endif
