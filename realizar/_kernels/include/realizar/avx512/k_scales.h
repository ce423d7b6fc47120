/* The packed scales of Q4_K and Q5_K: of four rows, repeated for the elements, for GEMV; of sixteen rows for GEMM. */
#ifndef REALIZAR_AVX512_K_SCALES_H
#define REALIZAR_AVX512_K_SCALES_H

#include "realizar/avx512/gemm_256.h"
#include "realizar/avx512/gemv_256.h"

/* Both formats start with d, dmin and twelve packed bytes (scalar/k_scales.h). Lane r of scales and mins: the eight
 * scales of row r, then its eight minima. */
static inline scales_256 k_scales_256(const char *const *blocks)
{
    __m512i header = _mm512_castsi128_si512(_mm_loadu_si128((const __m128i *)blocks[0]));
    for (int r = 1; r < 4; r++)
        header =
            _mm512_mask_broadcast_i32x4(header, (__mmask16)(0xf << 4 * r), _mm_loadu_si128((const __m128i *)blocks[r]));
    /* Dwords of a lane: 0: d and dmin; 1: scales and 2: minima of sub-blocks 0..3, with the upper bits of 4..7; 3: the
     * lower nibbles of 4..7. */
    __m512i low = _mm512_srlv_epi32(_mm512_shuffle_epi32(header, _MM_PERM_DCDB), _mm512_set4_epi32(4, 0, 0, 0));
    __m512i high = _mm512_srli_epi32(_mm512_shuffle_epi32(header, _MM_PERM_CABA), 2);
    low = _mm512_and_si512(low, _mm512_set4_epi32(0x0f0f0f0f, 0x3f3f3f3f, 0x0f0f0f0f, 0x3f3f3f3f));
    high = _mm512_and_si512(high, _mm512_set4_epi32(0x30303030, 0, 0x30303030, 0));
    const __m512i first_of_lane = _mm512_set_epi32(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 12, 8, 4, 0);
    __m128i d_dmin = _mm512_castsi512_si128(_mm512_permutexvar_epi32(first_of_lane, header));
    scales_256 s;
    s.scales = _mm512_or_si512(low, high);
    /* A sub-block is two groups, so each minimum is repeated. */
    const __m512i first = _mm512_set4_epi32((int)0x800b800b, (int)0x800a800a, (int)0x80098009, (int)0x80088008);
    s.mins[0] = _mm512_shuffle_epi8(s.scales, first);
    s.mins[1] = _mm512_shuffle_epi8(s.scales, _mm512_add_epi8(first, _mm512_set1_epi16(4)));
    s.d = halves_f32(d_dmin);
    s.dmin = halves_f32(_mm_srli_epi32(d_dmin, 16));
    return s;
}

/* Words: byte i of a lane in the lower half, byte j in the upper half. */
RZ_INLINE __m512i spread_two(__m512i bytes, int i, int j)
{
    __m512i word_i = _mm512_set1_epi16((short)(0x8000 | i)), word_j = _mm512_set1_epi16((short)(0x8000 | j));
    return _mm512_shuffle_epi8(bytes, _mm512_mask_blend_epi64(0xf0, word_i, word_j));
}

/* Elements of an input row in the order of the nibbles: sub-blocks 0 and 2, 1 and 3, 4 and 6, 5 and 7 for i = 0 to 3. */
RZ_INLINE __m512i act_two_sub_blocks(const act_256 *x, int i)
{
    __m512i first = act_64(x, i / 2 * 2), last = act_64(x, i / 2 * 2 + 1);
    return i % 2 ? _mm512_shuffle_i64x2(first, last, 0xee) : _mm512_shuffle_i64x2(first, last, 0x44);
}

/* The sum of scale * q * x; q: four vectors of bytes with at most 5 bits, in the same order. */
RZ_INLINE __m512i dot_sub_blocks(const __m512i *q, __m512i scales, const act_256 *x)
{
    __m512i dot = _mm512_setzero_si512();
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        int first = i / 2 * 4 + i % 2;
        __m512i words = _mm512_maddubs_epi16(q[i], act_two_sub_blocks(x, i));
        dot = _mm512_dpwssd_epi32(dot, words, spread_two(scales, first, first + 2));
    }
    return dot;
}

/* Eight scales and eight minima, d and dmin of sixteen rows (scalar/k_scales.h). */
RZ_INLINE void k_unpack_scales(const char *const *blocks, int32_t (*scales)[16])
{
    const __m512i low_6 = _mm512_set1_epi32(0x3f3f3f3f), low_4 = _mm512_set1_epi32(0x0f0f0f0f);
    const __m512i upper_2 = _mm512_set1_epi32(0x30303030);
    __m512i v[4]; /* d and dmin, then the three dwords of packed scales */
    load_transposed_quads(blocks, 0, v);
    store_pairs_u8(scales, _mm512_and_si512(v[1], low_6));
    store_pairs_u8(scales + 2, _mm512_or_si512(_mm512_and_si512(v[3], low_4),
                                               _mm512_and_si512(_mm512_srli_epi32(v[1], 2), upper_2)));
    store_pairs_u8(scales + 4, _mm512_and_si512(v[2], low_6));
    store_pairs_u8(scales + 6, _mm512_or_si512(_mm512_and_si512(_mm512_srli_epi32(v[3], 4), low_4),
                                               _mm512_and_si512(_mm512_srli_epi32(v[2], 2), upper_2)));
    _mm512_store_si512(scales[D_AT], v[0]);
}

#endif
