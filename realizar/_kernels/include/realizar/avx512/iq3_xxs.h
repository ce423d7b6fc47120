/* IQ3_XXS: codewords of four from 256, seven bits of signs for eight elements, eight scales. */
#ifndef REALIZAR_AVX512_IQ3_XXS_H
#define REALIZAR_AVX512_IQ3_XXS_H

#include "realizar/avx512/codewords.h"

/* The magnitudes of the elements [64 i, 64 i + 64). */
RZ_INLINE __m512i iq3_xxs_words(const rz_block_iq3_xxs *block, size_t i)
{
    __m512i index = _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)(block->qs + 16 * i)));
    return codewords_of_4(rz_iq3_xxs_grid, index);
}

RZ_SIGNED_DOT(iq3_xxs, masks_of_dwords(_mm256_loadu_si256((const __m256i *)block->signs)))

static inline __m512i iq3_xxs_unpack_64(const char *row, size_t i)
{
    const rz_block_iq3_xxs *block = (const rz_block_iq3_xxs *)row + i / 4;
    uint32_t rest[2];
    memcpy(rest, block->signs + 8 * (i % 4), sizeof rest);
    uint64_t signs = even_signs_4(rest[0]) | (uint64_t)even_signs_4(rest[1]) << 32;
    return with_signs(iq3_xxs_words(block, i % 4), signs, _mm512_set1_epi8(64));
}

RZ_CODEWORDS(iq3_xxs, RZ_IQ3_XXS, quarter_d, first_halves, 8, 32, WIDE, 64, 2)

#endif
