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

static inline __m512i iq2_xs_dot_256(const char *data, __m512i unused, const act_256 *x)
{
    const rz_block_iq2_xs *block = (const rz_block_iq2_xs *)data;
    __m256i scales = iq2_xs_scales(data);
    sign_masks masks = iq2_xs_masks(block);
    __m512i dot = _mm512_setzero_si512();
    (void)unused;
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) dot = add_dot_64(dot, iq2_xs_words(block, (size_t)i), x, i, masks.signs[i], scales);
    return dot;
}

static inline __m512i iq2_xs_unpack_64(const char *row, size_t i)
{
    const rz_block_iq2_xs *block = (const rz_block_iq2_xs *)row + i / 4;
    uint64_t signs = iq2_xs_masks(block).signs[i % 4];
    return with_signs(iq2_xs_words(block, i % 4), signs, _mm512_set1_epi8(64));
}

RZ_CODEWORDS(iq2_xs, RZ_IQ2_XS, eighth_d, first_halves, 16, 16, WIDE, 64, 3)

#endif
