/* The integer scales of the IQ formats, one for each group of 16 elements, as sixteen words; with AVX2. */
#ifndef REALIZAR_WIDE_CODEWORD_SCALES_H
#define REALIZAR_WIDE_CODEWORD_SCALES_H

#include <immintrin.h>
#include <stdint.h>
#include <string.h>

#include "realizar/blocks.h"
#include "realizar/target.h"

RZ_INLINE __m256i dword_everywhere(const void *p)
{
    int32_t dword;
    memcpy(&dword, p, sizeof dword);
    return _mm256_set1_epi32(dword);
}

/* Nibble j as dword j. */
RZ_INLINE __m256i nibble_dwords(const void *p)
{
    __m256i shifted = _mm256_srlv_epi32(dword_everywhere(p), _mm256_setr_epi32(0, 4, 8, 12, 16, 20, 24, 28));
    return _mm256_and_si256(shifted, _mm256_set1_epi32(15));
}

/* The lower word of each dword in both words. */
RZ_INLINE __m256i both_words(__m256i dwords) { return _mm256_blend_epi16(dwords, _mm256_slli_epi32(dwords, 16), 0xaa); }

/* 2 * s + 1 */
RZ_INLINE __m256i odd_words(__m256i words)
{
    return _mm256_or_si256(_mm256_add_epi16(words, words), _mm256_set1_epi16(1));
}

/* One dword for each sub-block of 32. */
RZ_INLINE __m256i iq4_xs_scale_dwords(const rz_block_iq4_xs *block)
{
    __m256i high = _mm256_set1_epi32(block->scales_h << 4), low = nibble_dwords(block->scales_l);
    high = _mm256_srlv_epi32(high, _mm256_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14));
    low = _mm256_or_si256(low, _mm256_and_si256(high, _mm256_set1_epi32(0x30)));
    return _mm256_sub_epi32(low, _mm256_set1_epi32(32));
}

static inline __m256i iq4_xs_scales(const char *data)
{
    return both_words(iq4_xs_scale_dwords((const rz_block_iq4_xs *)data));
}

/* From the upper four bits of eight dwords. */
RZ_INLINE __m256i scales_of_dwords(__m256i dwords) { return odd_words(both_words(_mm256_srli_epi32(dwords, 28))); }

static inline __m256i iq3_xxs_scales(const char *data)
{
    const rz_block_iq3_xxs *block = (const rz_block_iq3_xxs *)data;
    return scales_of_dwords(_mm256_loadu_si256((const __m256i *)block->signs));
}

static inline __m256i iq3_s_scales(const char *data)
{
    return odd_words(both_words(nibble_dwords(((const rz_block_iq3_s *)data)->scales)));
}

/* The dwords of signs and scales. */
RZ_INLINE __m256i iq2_xxs_rest(const rz_block_iq2_xxs *block)
{
    __m256 first = _mm256_loadu_ps((const float *)block->qs), last = _mm256_loadu_ps((const float *)(block->qs + 32));
    __m256i mixed = _mm256_castps_si256(_mm256_shuffle_ps(first, last, 0xdd));
    return _mm256_permute4x64_epi64(mixed, 0xd8);
}

static inline __m256i iq2_xxs_scales(const char *data)
{
    return scales_of_dwords(iq2_xxs_rest((const rz_block_iq2_xxs *)data));
}

/* Sixteen nibbles. */
RZ_INLINE __m256i scales_of_nibbles(const uint8_t *scales)
{
    __m256i bytes = _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)scales));
    __m256i words = _mm256_or_si256(bytes, _mm256_slli_epi32(bytes, 12));
    return odd_words(_mm256_and_si256(words, _mm256_set1_epi16(15)));
}

static inline __m256i iq2_xs_scales(const char *data)
{
    return scales_of_nibbles(((const rz_block_iq2_xs *)data)->scales);
}

static inline __m256i iq2_s_scales(const char *data)
{
    return scales_of_nibbles(((const rz_block_iq2_s *)data)->scales);
}

static inline __m256i iq1_s_scales(const char *data)
{
    const rz_block_iq1_s *block = (const rz_block_iq1_s *)data;
    __m256i dwords = _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)block->qh));
    return odd_words(both_words(_mm256_and_si256(_mm256_srli_epi32(dwords, 12), _mm256_set1_epi32(7))));
}

/* Four scales of three bits in each of four words. */
static inline __m256i iq1_m_scales(const char *data)
{
    const rz_block_iq1_m *block = (const rz_block_iq1_m *)data;
    __m256i twice = _mm256_cvtepu16_epi64(_mm_loadl_epi64((const __m128i *)block->scales));
    twice = _mm256_srlv_epi32(_mm256_shuffle_epi32(twice, 0xa0), _mm256_setr_epi32(0, 6, 0, 6, 0, 6, 0, 6));
    __m256i words = _mm256_or_si256(twice, _mm256_slli_epi32(twice, 13));
    return odd_words(_mm256_and_si256(words, _mm256_set1_epi16(7)));
}

#endif
