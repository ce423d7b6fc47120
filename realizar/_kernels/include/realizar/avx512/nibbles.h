/* Products of four blocks of 4-bit and 5-bit elements with four blocks of a token. */
#ifndef REALIZAR_AVX512_NIBBLES_H
#define REALIZAR_AVX512_NIBBLES_H

#include "realizar/avx512/gemv_32.h"

/* Lane b of packed: the 16 bytes of block b; the low nibbles are its first half. start: initial sums. */
RZ_INLINE __m512i dot_nibbles(__m512i packed, const act_4 *x, __m512i start)
{
    const __m512i mask = _mm512_set1_epi8(15);
    __m512i low_u8x64 = _mm512_and_si512(packed, mask);
    __m512i high_u8x64 = _mm512_and_si512(_mm512_srli_epi16(packed, 4), mask);
    return _mm512_dpbusd_epi32(_mm512_dpbusd_epi32(start, low_u8x64, x->low), high_u8x64, x->high);
}

/* Lane b: sixteen bytes of block b. */
RZ_INLINE __m512i load_quads(const char *first, size_t block_bytes)
{
    __m512i quads = _mm512_castsi128_si512(_mm_loadu_si128((const __m128i *)first));
#pragma GCC unroll 3
    for (size_t b = 1; b < 4; b++)
        quads = _mm512_mask_broadcast_i32x4(quads, (__mmask16)(0xf << 4 * b),
                                            _mm_loadu_si128((const __m128i *)(first + b * block_bytes)));
    return quads;
}

/* The same with nibbles that are indices of sixteen unsigned values in each lane, offset by 2^bias_bits. */
RZ_INLINE __m512i dot_values(__m512i packed, __m512i values, unsigned bias_bits, const act_4 *x)
{
    const __m512i mask = _mm512_set1_epi8(15);
    __m512i low = _mm512_shuffle_epi8(values, _mm512_and_si512(packed, mask));
    __m512i high = _mm512_shuffle_epi8(values, _mm512_and_si512(_mm512_srli_epi16(packed, 4), mask));
    __m512i start = _mm512_sub_epi32(_mm512_setzero_si512(), _mm512_slli_epi32(x->sum, bias_bits));
    return _mm512_dpbusd_epi32(_mm512_dpbusd_epi32(start, low, x->low), high, x->high);
}

/* Lane b of fifth: the 32 fifth bits of block b, repeated four times. */
RZ_INLINE __m512i dot_five_bits(__m512i packed, __m512i fifth, const act_4 *x, __m512i start)
{
    const __m512i mask = _mm512_set1_epi8(15), bit_16 = _mm512_set1_epi8(16);
    const __m512i bit_of_byte = _mm512_set1_epi64((long long)0x8040201008040201);
    const __m512i bytes_01 = _mm512_set4_epi32(0x01010101, 0x01010101, 0, 0);
    const __m512i bytes_23 = _mm512_set4_epi32(0x03030303, 0x03030303, 0x02020202, 0x02020202);
    __mmask64 low_fifth = _mm512_test_epi8_mask(_mm512_shuffle_epi8(fifth, bytes_01), bit_of_byte);
    __mmask64 high_fifth = _mm512_test_epi8_mask(_mm512_shuffle_epi8(fifth, bytes_23), bit_of_byte);
    __m512i low = _mm512_and_si512(packed, mask), high = _mm512_and_si512(_mm512_srli_epi16(packed, 4), mask);
    low = _mm512_mask_add_epi8(low, low_fifth, low, bit_16);
    high = _mm512_mask_add_epi8(high, high_fifth, high, bit_16);
    return _mm512_dpbusd_epi32(_mm512_dpbusd_epi32(start, low, x->low), high, x->high);
}

/* The elements of two blocks in their order. */
RZ_INLINE __m512i unpack_nibbles_2(const uint8_t *first, const uint8_t *second)
{
    __m256i packed = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)first));
    __m256i packed_2 = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)second));
    __m512i both = _mm512_inserti64x4(_mm512_castsi256_si512(packed), packed_2, 1);
    const __m512i by_0_4 = _mm512_set_epi64(4, 4, 0, 0, 4, 4, 0, 0);
    return _mm512_and_si512(_mm512_srlv_epi64(both, by_0_4), _mm512_set1_epi8(15));
}

/* The fifth bits of two blocks. */
RZ_INLINE __mmask64 fifth_bits_2(const uint8_t *first, const uint8_t *second)
{
    uint32_t low, high;
    memcpy(&low, first, sizeof low);
    memcpy(&high, second, sizeof high);
    return low | (uint64_t)high << 32;
}

/* Indices for permutex2var over two loads of 64 bytes: lane b takes four dwords from dword first_b on. */
RZ_INLINE __m512i quads_from(int first_0, int first_1, int first_2, int first_3)
{
    __m512i first = _mm512_set_epi32(first_3, first_3, first_3, first_3, first_2, first_2, first_2, first_2, first_1,
                                     first_1, first_1, first_1, first_0, first_0, first_0, first_0);
    return _mm512_add_epi32(first, _mm512_set4_epi32(3, 2, 1, 0));
}

/* Indices with which lane b takes dword at_b four times. */
RZ_INLINE __m512i dword_from(int at_0, int at_1, int at_2, int at_3)
{
    return _mm512_set_epi32(at_3, at_3, at_3, at_3, at_2, at_2, at_2, at_2, at_1, at_1, at_1, at_1, at_0, at_0, at_0,
                            at_0);
}

/* A scales_4_fn for blocks that start with d (and m). */
RZ_INLINE __m512i scales_at_start(__m512i scales, int row, const char *blocks, int block_bytes)
{
    for (int b = 0; b < 4; b++)
        scales = _mm512_mask_broadcastd_epi32(scales, (__mmask16)(1u << (4 * b + row)),
                                              _mm_loadu_si32(blocks + b * block_bytes));
    return scales;
}

#endif
