/* Base-3 digits as bytes. */
#ifndef REALIZAR_AVX512_TRITS_H
#define REALIZAR_AVX512_TRITS_H

#include "realizar/matmul.h"

/* floor(3 * (byte * power mod 256) / 256) of each byte (scalar/trits.h); powers: of the two bytes of a word. The low
 * bytes of the products of even and of odd bytes are joined; then the digit is 1 from 86 on and 2 from 171 on. */
RZ_INLINE __m512i trits_64(__m512i bytes, __m512i powers)
{
    const __m512i low = _mm512_set1_epi16(255), one = _mm512_set1_epi8(1);
    __m512i even = _mm512_maddubs_epi16(bytes, powers), odd = _mm512_maddubs_epi16(bytes, _mm512_slli_epi16(powers, 8));
    __m512i q = _mm512_ternarylogic_epi32(low, even, _mm512_slli_epi16(odd, 8), 0xca);
    __m512i digits = _mm512_maskz_mov_epi8(_mm512_cmpge_epu8_mask(q, _mm512_set1_epi8(86)), one);
    return _mm512_mask_add_epi8(digits, _mm512_cmpge_epu8_mask(q, _mm512_set1_epi8((char)171)), digits, one);
}

/* Powers of eight runs of 8 elements. */
RZ_INLINE __m512i powers_of_8(int a, int b, int c, int d, int e, int f, int g, int h)
{
    const long long word = 0x0001000100010001;
    return _mm512_set_epi64(h * word, g * word, f * word, e * word, d * word, c * word, b * word, a * word);
}

#endif
