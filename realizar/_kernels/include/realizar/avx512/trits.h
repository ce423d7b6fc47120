/* Base-3 digits as bytes. */
#ifndef REALIZAR_AVX512_TRITS_H
#define REALIZAR_AVX512_TRITS_H

#include "realizar/matmul.h"

/* floor(3 * (byte * power mod 256) / 256) of each byte (scalar/trits.h); powers: of the two bytes of a word. */
RZ_INLINE __m512i trits_64(__m512i bytes, __m512i powers)
{
    const __m512i three = _mm512_set1_epi16(3);
    __m512i even = _mm512_mullo_epi16(_mm512_slli_epi16(bytes, 8), powers);
    __m512i odd = _mm512_mullo_epi16(_mm512_and_si512(bytes, _mm512_set1_epi16((short)0xff00)), powers);
    even = _mm512_mulhi_epu16(even, three);
    odd = _mm512_mulhi_epu16(odd, three);
    return _mm512_or_si512(even, _mm512_slli_epi16(odd, 8));
}

/* Powers of eight runs of 8 elements. */
RZ_INLINE __m512i powers_of_8(int a, int b, int c, int d, int e, int f, int g, int h)
{
    const long long word = 0x0001000100010001;
    return _mm512_set_epi64(h * word, g * word, f * word, e * word, d * word, c * word, b * word, a * word);
}

#endif
