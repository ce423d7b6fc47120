/* IQ2_XS: codewords of eight from 512, seven bits of signs for each, sixteen scales. */
#ifndef REALIZAR_AVX512_IQ2_XS_H
#define REALIZAR_AVX512_IQ2_XS_H

#include "realizar/avx512/codewords.h"

/* The magnitudes of the elements [64 i, 64 i + 64). */
RZ_INLINE __m512i iq2_xs_words(const rz_block_iq2_xs *block, size_t i)
{
    __m512i index = _mm512_cvtepu16_epi64(_mm_loadu_si128((const __m128i *)(block->qs + 8 * i)));
    return codewords_of_8(rz_iq2_xs_grid, _mm512_and_si512(index, _mm512_set1_epi64(511)));
}

/* The sign bits of all elements. */
RZ_INLINE sign_masks iq2_xs_masks(const rz_block_iq2_xs *block)
{
    return masks_of_bytes(make_even(_mm512_cvtepi16_epi8(_mm512_srli_epi16(load_once(block->qs), 9))));
}

RZ_SIGNED_DOT(iq2_xs, iq2_xs_masks(block))

static inline __m512i iq2_xs_unpack_64(const char *row, size_t i)
{
    const rz_block_iq2_xs *block = (const rz_block_iq2_xs *)row + i / 4;
    uint64_t signs = iq2_xs_masks(block).signs[i % 4];
    return with_signs(iq2_xs_words(block, i % 4), signs, _mm512_set1_epi8(64));
}

RZ_CODEWORDS(iq2_xs, RZ_IQ2_XS, eighth_d, first_halves, 16, 16, WIDE, 64, 3)

#endif
