/* Unpacks 4-bit and 5-bit elements, of the 32-element formats and the sub-blocks of the K formats, to bytes. */
#ifndef REALIZAR_AVX2_NIBBLES_H
#define REALIZAR_AVX2_NIBBLES_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "realizar/target.h"

/* Sixteen low nibbles, then sixteen high ones. */
RZ_INLINE __m256i unpack_nibbles(const uint8_t *packed)
{
    __m256i twice = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)packed));
    return _mm256_and_si256(_mm256_srlv_epi64(twice, _mm256_setr_epi64x(0, 0, 4, 4)), _mm256_set1_epi8(15));
}

/* Byte i is `value` if bit i is set, else 0. */
RZ_INLINE __m256i spread_bits(const uint8_t *bits, int value)
{
    uint32_t all;
    memcpy(&all, bits, sizeof all);
    const __m256i byte = _mm256_setr_epi64x(0, 0x0101010101010101, 0x0202020202020202, 0x0303030303030303);
    const __m256i bit = _mm256_set1_epi64x((long long)0x8040201008040201);
    __m256i spread = _mm256_and_si256(_mm256_shuffle_epi8(_mm256_set1_epi32((int)all), byte), bit);
    return _mm256_and_si256(_mm256_cmpeq_epi8(spread, bit), _mm256_set1_epi8((char)value));
}

RZ_INLINE __m256i fifth_bits(const uint8_t *bits) { return spread_bits(bits, 16); }

/* Moves bit from of each byte to bit to; other bits move along, some into neighbouring bytes. */
RZ_INLINE __m256i move_bit(__m256i bytes, int from, int to)
{
    return from < to ? _mm256_sll_epi64(bytes, _mm_cvtsi32_si128(to - from))
                     : _mm256_srl_epi64(bytes, _mm_cvtsi32_si128(from - to));
}

/* The nibbles of sub-block i of a K block; two sub-blocks share 32 bytes. */
RZ_INLINE __m256i unpack_sub_block(const uint8_t *qs, size_t i)
{
    __m256i packed = _mm256_loadu_si256((const __m256i *)(qs + i / 2 * 32));
    return _mm256_and_si256(i % 2 ? _mm256_srli_epi16(packed, 4) : packed, _mm256_set1_epi8(15));
}

/* The eight scales of Q4_K and Q5_K (scalar/k_scales.h) as bytes, followed by the eight minima. */
RZ_INLINE __m128i k_scale_bytes(const uint8_t *scales)
{
    uint32_t packed[3];
    memcpy(packed, scales, sizeof packed);
    uint32_t scales_high = (packed[2] & 0x0f0f0f0f) | (packed[0] >> 2 & 0x30303030);
    uint32_t mins_high = (packed[2] >> 4 & 0x0f0f0f0f) | (packed[1] >> 2 & 0x30303030);
    return _mm_set_epi32((int)mins_high, (int)(packed[1] & 0x3f3f3f3f), (int)scales_high,
                         (int)(packed[0] & 0x3f3f3f3f));
}

/* The scales and the minima of the sixteen groups; each is repeated, because a sub-block is two groups. */
RZ_INLINE __m256i k_scale_words(__m128i bytes) { return _mm256_cvtepu8_epi16(_mm_unpacklo_epi8(bytes, bytes)); }
RZ_INLINE __m256i k_min_words(__m128i bytes) { return _mm256_cvtepu8_epi16(_mm_unpackhi_epi8(bytes, bytes)); }

#endif
