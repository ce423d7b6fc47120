/* IQ2_S: codewords of eight from 1024, signs, sixteen scales. */
#ifndef REALIZAR_AVX512_IQ2_S_H
#define REALIZAR_AVX512_IQ2_S_H

#include "realizar/avx512/codewords.h"

/* The magnitudes of the elements [64 i, 64 i + 64); bit pair 8 i + j of qh is rotated to bits 8 and 9. */
RZ_INLINE __m512i iq2_s_words(const rz_block_iq2_s *block, size_t i)
{
    const __m512i to_bit_8 = _mm512_set_epi64(6, 4, 2, 0, -2, -4, -6, -8);
    uint64_t high;
    memcpy(&high, block->qh, sizeof high);
    __m512i by = _mm512_add_epi64(to_bit_8, _mm512_set1_epi64((long long)(16 * i)));
    __m512i upper = _mm512_rorv_epi64(_mm512_set1_epi64((long long)high), by), low = bytes_as_qwords(block->qs + 8 * i);
    upper = _mm512_and_si512(upper, _mm512_set1_epi64(0x300));
    return codewords_of_8(rz_iq2_s_grid, _mm512_or_si512(low, upper));
}

RZ_SIGNED_DOT(iq2_s, load_masks(block->signs))

static inline __m512i iq2_s_unpack_64(const char *row, size_t i)
{
    const rz_block_iq2_s *block = (const rz_block_iq2_s *)row + i / 4;
    uint64_t signs;
    memcpy(&signs, block->signs + 8 * (i % 4), sizeof signs);
    return with_signs(iq2_s_words(block, i % 4), signs, _mm512_set1_epi8(64));
}

RZ_CODEWORDS(iq2_s, RZ_IQ2_S, eighth_d, first_halves, 16, 16, WIDE, 64, 3)

#endif
