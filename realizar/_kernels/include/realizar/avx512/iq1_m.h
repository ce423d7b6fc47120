/* IQ1_M: codewords of eight from 2048, a delta for each, sixteen scales; d is in the upper bits of these. */
#ifndef REALIZAR_AVX512_IQ1_M_H
#define REALIZAR_AVX512_IQ1_M_H

#include "realizar/avx512/ternary.h"

/* Elements [64 i, 64 i + 64); a nibble of upper bits and delta for each codeword. */
static inline __m512i iq1_m_unpack_64(const char *row, size_t i)
{
    const __m512i to_bit_8 = _mm512_set_epi64(20, 16, 12, 8, 4, 0, -4, -8);
    const __m512i to_top = _mm512_set_epi64(32, 36, 40, 44, 48, 52, 56, 60);
    const rz_block_iq1_m *block = (const rz_block_iq1_m *)row + i / 4;
    __m512i high = load_twice(block->qh + i % 4 * 4);
    __m512i words = ternary_words(block->qs + i % 4 * 8, _mm512_rorv_epi64(high, to_bit_8));
    return add_deltas(words, _mm512_sllv_epi64(high, to_top));
}

static inline __m512i iq1_m_dot_256(const char *data, __m512i unused, const act_256 *x)
{
    __m256i scales = iq1_m_scales(data);
    __m512i dot = sum_offsets(scales, _mm256_set1_epi16(-IQ1_BIAS), x);
    (void)unused;
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) dot = add_unsigned_64(dot, iq1_m_unpack_64(data, (size_t)i), x, i, scales);
    return dot;
}

/* d of four rows. */
static inline scales_256 iq1_m_four_d(const char *const *blocks)
{
    uint64_t halves = 0;
    for (int r = 0; r < 4; r++) halves |= (uint64_t)iq1_m_d(blocks[r]) << 16 * r;
    return scales_of_d(halves, 3);
}

/* d of sixteen rows. */
RZ_INLINE __m512i iq1_m_halves(const char *const *blocks)
{
    int32_t halves[16];
    for (int r = 0; r < 16; r++) halves[r] = iq1_m_d(blocks[r]);
    return _mm512_loadu_si512(halves);
}

RZ_CODEWORDS(iq1_m, RZ_IQ1_M, iq1_m_four_d, iq1_m_halves, 16, 16, NARROW, IQ1_BIAS, 3)

#endif
