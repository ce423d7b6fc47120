/* Shared by IQ1_S and IQ1_M: elements 8 * v + delta, offset by 16. */
#ifndef REALIZAR_AVX512_TERNARY_H
#define REALIZAR_AVX512_TERNARY_H

#include "realizar/avx512/codewords.h"

enum { IQ1_BIAS_BITS = 4, IQ1_BIAS = 1 << IQ1_BIAS_BITS };

/* high: the upper three bits of the indices at bits 8 to 10; deltas: the sign bits of the qwords. */
RZ_INLINE __m512i ternary_elements(const uint8_t *qs, __m512i high, __m512i deltas)
{
    __m512i index = _mm512_or_si512(bytes_as_qwords(qs), _mm512_and_si512(high, _mm512_set1_epi64(0x700)));
    __m512i delta = _mm512_or_si512(_mm512_srai_epi64(deltas, 63), _mm512_set1_epi8(1));
    return _mm512_add_epi8(codewords_of_8(rz_iq1_s_grid, index), delta);
}

/* Adds the scales of four rows to those of scales_of_codewords, for the bias. */
RZ_INLINE scales_256 with_scales(scales_256 s, scale_words_fn *scales_of, const char *const *blocks)
{
    for (int r = 0; r < 4; r++) {
        __m256i words = scales_of(blocks[r]);
        __mmask8 lane = (__mmask8)(3 << 2 * r);
        __m128i low = _mm256_castsi256_si128(words), high = _mm256_extracti128_si256(words, 1);
        s.mins[0] = r ? _mm512_mask_broadcast_i64x2(s.mins[0], lane, low) : _mm512_castsi128_si512(low);
        s.mins[1] = r ? _mm512_mask_broadcast_i64x2(s.mins[1], lane, high) : _mm512_castsi128_si512(high);
    }
    return s;
}

#endif
