/* Two-bit elements as bytes: those of Q2_K and Q3_K, and of Q2_0; the scales of Q3_K. */
#ifndef REALIZAR_AVX2_BIT_PAIRS_H
#define REALIZAR_AVX2_BIT_PAIRS_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "realizar/target.h"

/* Elements [32 i, 32 i + 32) of a block: bit pair i % 4 of each byte of a half. */
RZ_INLINE __m256i unpack_bit_pairs(const uint8_t *qs, size_t i)
{
    __m256i packed = _mm256_loadu_si256((const __m256i *)(qs + i / 4 * 32));
    packed = _mm256_srl_epi64(packed, _mm_cvtsi32_si128((int)(2 * (i % 4))));
    return _mm256_and_si256(packed, _mm256_set1_epi8(3));
}

/* Bytes 0, 4, 8, ... of each lane, then 1, 5, 9, ... and so on: a transpose, its own inverse. */
RZ_INLINE __m256i transpose_bytes(__m256i v)
{
    const __m128i order = _mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    return _mm256_shuffle_epi8(v, _mm256_broadcastsi128_si256(order));
}

/* Bytes 0, 4, 8, ... 28, then 1, 5, ... and so on; and back. */
RZ_INLINE __m256i every_fourth(__m256i v)
{
    return _mm256_permutevar8x32_epi32(transpose_bytes(v), _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
}

RZ_INLINE __m256i in_order(__m256i v)
{
    return transpose_bytes(_mm256_permutevar8x32_epi32(v, _mm256_setr_epi32(0, 2, 4, 6, 1, 3, 5, 7)));
}

/* Thirty-two bit pairs of eight bytes, every fourth one first. */
RZ_INLINE __m256i unpack_pairs_by_4(const uint8_t *qs)
{
    long long packed;
    memcpy(&packed, qs, sizeof packed);
    __m256i pairs = _mm256_srlv_epi64(_mm256_set1_epi64x(packed), _mm256_setr_epi64x(0, 2, 4, 6));
    return _mm256_and_si256(pairs, _mm256_set1_epi8(3));
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
