/* Base-3 digits as bytes. */
#ifndef REALIZAR_AVX2_TRITS_H
#define REALIZAR_AVX2_TRITS_H

#include "realizar/target.h"

/* floor(3 * (byte * power mod 256) / 256) of each byte (scalar/trits.h); powers: of the two bytes of a word. */
RZ_INLINE __m256i trits_32(__m256i bytes, __m256i powers)
{
    const __m256i three = _mm256_set1_epi16(3);
    __m256i even = _mm256_mullo_epi16(_mm256_slli_epi16(bytes, 8), powers);
    __m256i odd = _mm256_mullo_epi16(_mm256_and_si256(bytes, _mm256_set1_epi16((short)0xff00)), powers);
    even = _mm256_mulhi_epu16(even, three);
    odd = _mm256_mulhi_epu16(odd, three);
    return _mm256_or_si256(even, _mm256_slli_epi16(odd, 8));
}

/* The words of four quarters of 8 elements. */
#define RZ_POWERS(a, b, c, d) a, a, a, a, b, b, b, b, c, c, c, c, d, d, d, d

#endif
