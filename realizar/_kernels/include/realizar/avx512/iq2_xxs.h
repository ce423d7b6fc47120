/* IQ2_XXS: codewords of eight from 256, seven bits of signs for each, eight scales. */
#ifndef REALIZAR_AVX512_IQ2_XXS_H
#define REALIZAR_AVX512_IQ2_XXS_H

#include "realizar/avx512/codewords.h"

/* The magnitudes of the elements [64 i, 64 i + 64): twice four indices, eight bytes apart. */
RZ_INLINE __m512i iq2_xxs_words(const rz_block_iq2_xxs *block, size_t i)
{
    const __m512i low_bytes = _mm512_set_epi64(~0xffll | 11, ~0xffll | 10, ~0xffll | 9, ~0xffll | 8, ~0xffll | 3,
                                               ~0xffll | 2, ~0xffll | 1, ~0xffll | 0);
    __m512i lanes = _mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i *)(block->qs + 16 * i)));
    return codewords_of_8(rz_iq2_xxs_grid, _mm512_shuffle_epi8(lanes, low_bytes));
}

RZ_SIGNED_DOT(iq2_xxs, masks_of_dwords(iq2_xxs_rest(block)))

static inline __m512i iq2_xxs_unpack_64(const char *row, size_t i)
{
    const rz_block_iq2_xxs *block = (const rz_block_iq2_xxs *)row + i / 4;
    uint32_t rest[4];
    memcpy(rest, block->qs + 16 * (i % 4), sizeof rest);
    uint64_t signs = even_signs_4(rest[1]) | (uint64_t)even_signs_4(rest[3]) << 32;
    return with_signs(iq2_xxs_words(block, i % 4), signs, _mm512_set1_epi8(64));
}

RZ_CODEWORDS(iq2_xxs, RZ_IQ2_XXS, eighth_d, first_halves, 8, 32, WIDE, 64, 3)

#endif
