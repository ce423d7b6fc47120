/* Codes that quantizers store, for AVX2. */
#ifndef REALIZAR_AVX2_CODES_H
#define REALIZAR_AVX2_CODES_H

#include "realizar/avx2/f32x16.h"

/* Sixteen whole parts, from 0 to 127, as bytes. */
RZ_INLINE void f32x16_store_codes(uint8_t *p, f32x16 x)
{
    __m256i words = _mm256_packs_epi32(_mm256_cvttps_epi32(x.lo), _mm256_cvttps_epi32(x.hi)); /* 0-3 8-11 4-7 12-15 */
    words = _mm256_permute4x64_epi64(words, 0xd8);
    __m128i bytes = _mm_packus_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
    _mm_storeu_si128((__m128i *)p, bytes);
}

/* A half float, to the nearest, ties to even. */
RZ_INLINE uint16_t half_bits(float x) { return (uint16_t)_mm_cvtsi128_si32(_mm_cvtps_ph(_mm_set_ss(x), 0)); }

#endif
