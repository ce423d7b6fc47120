/* IQ3_S: codewords of four from 512, signs, eight scales. */
#ifndef REALIZAR_AVX512_IQ3_S_H
#define REALIZAR_AVX512_IQ3_S_H

#include "realizar/avx512/codewords.h"

/* The magnitudes of the elements [64 i, 64 i + 64). */
RZ_INLINE __m512i iq3_s_words(const rz_block_iq3_s *block, size_t i)
{
    __m512i index = _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)(block->qs + 16 * i)));
    uint16_t high;
    memcpy(&high, block->qh + 2 * i, sizeof high);
    index = _mm512_mask_add_epi32(index, (__mmask16)high, index, _mm512_set1_epi32(256));
    return codewords_of_4(rz_iq3_s_grid, index);
}

RZ_SIGNED_DOT(iq3_s, load_masks(block->signs))

static inline __m512i iq3_s_unpack_64(const char *row, size_t i)
{
    const rz_block_iq3_s *block = (const rz_block_iq3_s *)row + i / 4;
    uint64_t signs;
    memcpy(&signs, block->signs + 8 * (i % 4), sizeof signs);
    return with_signs(iq3_s_words(block, i % 4), signs, _mm512_set1_epi8(16));
}

RZ_CODEWORDS(iq3_s, RZ_IQ3_S, whole_d, first_halves, 16, 16, NARROW, 16, 0)

#endif
