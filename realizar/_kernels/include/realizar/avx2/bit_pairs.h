/* The two-bit elements of Q2_K and Q3_K as bytes, and the scales of Q3_K. */
#ifndef REALIZAR_AVX2_BIT_PAIRS_H
#define REALIZAR_AVX2_BIT_PAIRS_H

#include <stddef.h>
#include <stdint.h>

#include "realizar/target.h"

/* Elements [32 i, 32 i + 32) of a block: bit pair i % 4 of each byte of a half. */
RZ_INLINE __m256i unpack_bit_pairs(const uint8_t *qs, size_t i)
{
    __m256i packed = _mm256_loadu_si256((const __m256i *)(qs + i / 4 * 32));
    packed = _mm256_srl_epi64(packed, _mm_cvtsi32_si128((int)(2 * (i % 4))));
    return _mm256_and_si256(packed, _mm256_set1_epi8(3));
}

/* The sixteen scales of Q3_K (scalar/q3_k.h) as signed bytes. */
RZ_INLINE __m128i q3_k_scale_bytes(const uint8_t *scales)
{
    /* Loads from four bytes earlier: sixteen bytes from the start would read beyond the block. */
    __m128i packed = _mm_loadu_si128((const __m128i *)(scales - 4));
    __m128i low = _mm_srlv_epi64(_mm_shuffle_epi32(packed, 0x99), _mm_set_epi64x(4, 0));
    __m128i high = _mm_srlv_epi32(_mm_shuffle_epi32(packed, 0xff), _mm_setr_epi32(0, 2, 4, 6));
    high = _mm_slli_epi32(_mm_and_si128(high, _mm_set1_epi8(3)), 4);
    return _mm_sub_epi8(_mm_or_si128(_mm_and_si128(low, _mm_set1_epi8(15)), high), _mm_set1_epi8(32));
}

#endif
