/* IQ4_XS: 4 bits, each one of sixteen signed values, eight signed integer scales. */
#ifndef REALIZAR_AVX512_IQ4_XS_H
#define REALIZAR_AVX512_IQ4_XS_H

#include "realizar/avx512/codewords.h"
#include "realizar/avx512/nibbles.h"

/* The nibbles of the elements [64 i, 64 i + 64). */
RZ_INLINE __m512i iq4_xs_nibbles(const rz_block_iq4_xs *block, size_t i)
{
    return unpack_nibbles_2(block->qs + 32 * i, block->qs + 32 * i + 16);
}

/* The values below nibble 8 are negative. */
static inline __m512i iq4_xs_dot_256(const char *data, __m512i unused, const act_256 *x)
{
    const __m512i sizes = _mm512_broadcast_i32x4(_mm_abs_epi8(_mm_setr_epi8(RZ_IQ4_VALUES)));
    __m256i scales = iq4_xs_scales(data);
    __m512i dot = _mm512_setzero_si512();
    (void)unused;
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        __m512i nibbles = iq4_xs_nibbles((const rz_block_iq4_xs *)data, (size_t)i);
        uint64_t negative = _cvtmask64_u64(_mm512_cmplt_epu8_mask(nibbles, _mm512_set1_epi8(8)));
        dot = add_dot_64(dot, _mm512_shuffle_epi8(sizes, nibbles), x, i, negative, scales);
    }
    return dot;
}

static inline __m512i iq4_xs_unpack_64(const char *row, size_t i)
{
    const __m128i values = _mm_add_epi8(_mm_setr_epi8(RZ_IQ4_VALUES), _mm_set1_epi8(-128));
    __m512i nibbles = iq4_xs_nibbles((const rz_block_iq4_xs *)row + i / 4, i % 4);
    return _mm512_shuffle_epi8(_mm512_broadcast_i32x4(values), nibbles);
}

RZ_CODEWORDS(iq4_xs, RZ_IQ4_XS, whole_d, first_halves, 0, 8, 32, WIDE, 128, 0)

#endif
