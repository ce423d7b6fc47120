/* Shared by the formats with a scale for each group of 16: Q2_K, Q3_K, Q6_K. */
#ifndef REALIZAR_AVX512_GROUP_SCALES_H
#define REALIZAR_AVX512_GROUP_SCALES_H

#include "realizar/avx512/gemv_256.h"

/* Lane r: sixteen bytes at offset of the block of row r. */
RZ_INLINE __m512i load_lanes(const char *const *blocks, size_t offset)
{
    __m512i lanes = _mm512_castsi128_si512(_mm_loadu_si128((const __m128i *)(blocks[0] + offset)));
    for (int r = 1; r < 4; r++)
        lanes = _mm512_mask_broadcast_i32x4(lanes, (__mmask16)(0xf << 4 * r),
                                            _mm_loadu_si128((const __m128i *)(blocks[r] + offset)));
    return lanes;
}

/* The half floats at offset of four rows. */
RZ_INLINE __m128 load_halves(const char *const *blocks, size_t offset)
{
    uint64_t halves = 0;
    for (int r = 0; r < 4; r++) {
        uint16_t half;
        memcpy(&half, blocks[r] + offset, sizeof half);
        halves |= (uint64_t)half << 16 * r;
    }
    return _mm_cvtph_ps(_mm_cvtsi64_si128((long long)halves));
}

/* Lane r of scales: the sixteen signed scales of row r; the elements are offset by a bias. */
RZ_INLINE scales_256 signed_scales_256(__m512i scales, const char *const *blocks, size_t d_at)
{
    const __m512i zero = _mm512_setzero_si512();
    scales_256 s = {.scales = scales, .d = load_halves(blocks, d_at), .dmin = _mm_setzero_ps()};
    s.mins[0] = _mm512_srai_epi16(_mm512_unpacklo_epi8(zero, scales), 8);
    s.mins[1] = _mm512_srai_epi16(_mm512_unpackhi_epi8(zero, scales), 8);
    return s;
}

/* Lane i: byte first + i of `bytes` as words, in the lower half of each word or, with `upper`, in the upper half; the
 * other half is zero. All lanes of `bytes` are equal. */
RZ_INLINE __m512i spread_groups(__m512i bytes, int first, int upper)
{
    const __m512i lane = _mm512_set_epi64(0x0003000300030003, 0x0003000300030003, 0x0002000200020002,
                                          0x0002000200020002, 0x0001000100010001, 0x0001000100010001, 0, 0);
    __m512i at = _mm512_add_epi16(lane, _mm512_set1_epi16((short)first)), nothing = _mm512_set1_epi16((short)0x8000);
    if (upper) at = _mm512_slli_epi16(at, 8), nothing = _mm512_set1_epi16(0x0080);
    return _mm512_shuffle_epi8(bytes, _mm512_or_si512(at, nothing));
}

/* Elements [64 i, 64 i + 64) of the bit pairs of Q2_K and Q3_K: two bit pairs of the 32 bytes of a half. */
RZ_INLINE __m512i unpack_bit_pairs_64(const uint8_t *qs, size_t i)
{
    __m512i twice = _mm512_broadcast_i64x4(_mm256_loadu_si256((const __m256i *)(qs + i / 2 * 32)));
    const __m512i by_0_2 = _mm512_set_epi64(2, 2, 2, 2, 0, 0, 0, 0);
    __m512i pairs = _mm512_srlv_epi64(twice, _mm512_add_epi64(by_0_2, _mm512_set1_epi64((long long)(i % 2 * 4))));
    return _mm512_and_si512(pairs, _mm512_set1_epi8(3));
}

#endif
