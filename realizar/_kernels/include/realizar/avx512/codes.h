/* Codes that quantizers store, for AVX-512. */
#ifndef REALIZAR_AVX512_CODES_H
#define REALIZAR_AVX512_CODES_H

#include "realizar/avx512/f32x16.h"

/* Sixteen whole parts, from 0 to 127, as bytes. */
RZ_INLINE void f32x16_store_codes(uint8_t *p, f32x16 x)
{
    _mm_storeu_si128((__m128i *)p, _mm512_cvtepi32_epi8(_mm512_cvttps_epi32(x)));
}

/* A half float, to the nearest, ties to even. */
RZ_INLINE uint16_t half_bits(float x) { return (uint16_t)_mm_cvtsi128_si32(_mm_cvtps_ph(_mm_set_ss(x), 0)); }

#endif
