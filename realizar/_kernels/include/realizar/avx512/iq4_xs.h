/* IQ4_XS: 4 bits, each one of sixteen signed values, eight signed integer scales. */
#ifndef REALIZAR_AVX512_IQ4_XS_H
#define REALIZAR_AVX512_IQ4_XS_H

#include "realizar/avx512/codewords.h"
#include "realizar/avx512/nibbles.h"

/* The values are offset by 128. */
RZ_INLINE __m512i iq4_xs_values(__m512i nibbles)
{
    const __m128i values = _mm_add_epi8(_mm_setr_epi8(RZ_IQ4_VALUES), _mm_set1_epi8(-128));
    return _mm512_shuffle_epi8(_mm512_broadcast_i32x4(values), nibbles);
}

/* Four sub-blocks have 64 bytes; the low and the high nibbles of a lane have the same scale, so both are summed before
 * vpmulld applies it. The sums start at -128 times the sum of the elements, which is the same for all rows. */
static inline __m512i iq4_xs_dot_256(const char *data, __m512i unused, const act_256 *x)
{
    const __m512i mask = _mm512_set1_epi8(15), ones = _mm512_set1_epi8(1), zero = _mm512_setzero_si512();
    const __m512i lane = _mm512_set_epi32(3, 3, 3, 3, 2, 2, 2, 2, 1, 1, 1, 1, 0, 0, 0, 0);
    const rz_block_iq4_xs *block = (const rz_block_iq4_xs *)data;
    __m512i scales = _mm512_castsi256_si512(iq4_xs_scale_dwords(block)), dot = zero;
    (void)unused;
#pragma GCC unroll 2
    for (int half = 0; half < 2; half++) {
        __m512i first = act_64(x, 2 * half), last = act_64(x, 2 * half + 1), packed = load_once(block->qs + 64 * half);
        __m512i x_low = _mm512_shuffle_i32x4(first, last, 0x88), x_high = _mm512_shuffle_i32x4(first, last, 0xdd);
        __m512i sum = _mm512_dpbusd_epi32(_mm512_dpbusd_epi32(zero, ones, x_low), ones, x_high);
        __m512i part = _mm512_sub_epi32(zero, _mm512_slli_epi32(sum, 7));
        part = _mm512_dpbusd_epi32(part, iq4_xs_values(_mm512_and_si512(packed, mask)), x_low);
        packed = _mm512_and_si512(_mm512_srli_epi16(packed, 4), mask);
        part = _mm512_dpbusd_epi32(part, iq4_xs_values(packed), x_high);
        __m512i factors = _mm512_permutexvar_epi32(_mm512_add_epi32(lane, _mm512_set1_epi32(4 * half)), scales);
        dot = _mm512_add_epi32(dot, _mm512_mullo_epi32(part, factors));
    }
    return dot;
}

static inline __m512i iq4_xs_unpack_64(const char *row, size_t i)
{
    const uint8_t *qs = ((const rz_block_iq4_xs *)row + i / 4)->qs + i % 4 * 32;
    return iq4_xs_values(unpack_nibbles_2(qs, qs + 16));
}

RZ_CODEWORDS(iq4_xs, RZ_IQ4_XS, whole_d, first_halves, 8, 32, WIDE, 128, 0)

#endif
