/* Sums and transposes of the 128-bit lanes of zmm registers. */
#ifndef REALIZAR_AVX512_LANES_H
#define REALIZAR_AVX512_LANES_H

#include <immintrin.h>

#include "realizar/matmul.h"

/* Dword r of each lane: the sum of the four dwords of that lane in vector r. */
RZ_INLINE __m512i sum_quads_i32(__m512i a, __m512i b, __m512i c, __m512i d)
{
    __m512i ab = _mm512_add_epi32(_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
    __m512i cd = _mm512_add_epi32(_mm512_unpacklo_epi32(c, d), _mm512_unpackhi_epi32(c, d));
    return _mm512_add_epi32(_mm512_unpacklo_epi64(ab, cd), _mm512_unpackhi_epi64(ab, cd));
}

/* The sum of the four lanes. */
RZ_INLINE __m128i add_lanes_i32(__m512i v)
{
    __m256i half = _mm256_add_epi32(_mm512_castsi512_si256(v), _mm512_extracti64x4_epi64(v, 1));
    return _mm_add_epi32(_mm256_castsi256_si128(half), _mm256_extracti128_si256(half, 1));
}

/* Lane j of vector i becomes lane i of vector j. */
RZ_INLINE void transpose_lanes(__m512 *v)
{
    __m512 low01 = _mm512_shuffle_f32x4(v[0], v[1], 0x44), high01 = _mm512_shuffle_f32x4(v[0], v[1], 0xee);
    __m512 low23 = _mm512_shuffle_f32x4(v[2], v[3], 0x44), high23 = _mm512_shuffle_f32x4(v[2], v[3], 0xee);
    v[0] = _mm512_shuffle_f32x4(low01, low23, 0x88);
    v[1] = _mm512_shuffle_f32x4(low01, low23, 0xdd);
    v[2] = _mm512_shuffle_f32x4(high01, high23, 0x88);
    v[3] = _mm512_shuffle_f32x4(high01, high23, 0xdd);
}

/* Bytes 0, 4, 8, 12 of each lane, then 1, 5, 9, 13 and so on: a transpose, its own inverse. */
RZ_INLINE __m512i transpose_bytes(__m512i v)
{
    return _mm512_shuffle_epi8(v, _mm512_set4_epi32(0x0f0b0703, 0x0e0a0602, 0x0d090501, 0x0c080400));
}

/* Broadcasts lane r of v to every lane. */
RZ_INLINE __m512i broadcast_lane(__m512i v, int r)
{
    const __m512i pair = _mm512_set_epi64(1, 0, 1, 0, 1, 0, 1, 0);
    return _mm512_permutexvar_epi64(_mm512_add_epi64(pair, _mm512_set1_epi64(2 * r)), v);
}

/* The floats of the half floats in the lower 16 bits of each dword. */
RZ_INLINE __m512 low_halves_f32(__m512i v) { return _mm512_cvtph_ps(_mm512_cvtepi32_epi16(v)); }

/* The powers of two whose exponents are the lowest bytes of each dword (e8m0_f32 in scalar/mxfp4.h). */
RZ_INLINE __m512 low_powers_f32(__m512i v)
{
    __m512i e = _mm512_and_si512(v, _mm512_set1_epi32(255));
    __m512i normal = _mm512_slli_epi32(_mm512_sub_epi32(e, _mm512_set1_epi32(1)), 23);
    __mmask16 small = _mm512_cmplt_epi32_mask(e, _mm512_set1_epi32(2));
    return _mm512_castsi512_ps(_mm512_mask_sllv_epi32(normal, small, _mm512_set1_epi32(0x00200000), e));
}

/* Halves of the unsigned E4M3 numbers in the lowest bytes of each dword, as e4m3_of_rows in avx2/lanes.h. */
RZ_INLINE __m512 low_e4m3_f32(__m512i v)
{
    const __m512i seven = _mm512_set1_epi32(0x7f), bias = _mm512_set1_epi32(119 << 23);
    __m512i x = _mm512_and_si512(v, _mm512_set1_epi32(255)), low = _mm512_and_si512(v, seven);
    __mmask16 there = _mm512_cmpneq_epi32_mask(x, seven), denormal = _mm512_cmplt_epi32_mask(low, _mm512_set1_epi32(8));
    __m512i bits = _mm512_add_epi32(_mm512_slli_epi32(low, 20), bias);
    bits = _mm512_mask_add_epi32(bits, denormal, bits, _mm512_set1_epi32(1 << 23));
    __m512 value = _mm512_castsi512_ps(bits);
    return _mm512_maskz_mov_ps(there, _mm512_mask_sub_ps(value, denormal, value, _mm512_set1_ps(0x1p-7f)));
}

/* The scales of a 32-element format, of one of the kinds in matmul.h. */
RZ_INLINE __m512 low_scales_f32(int kind, __m512i v)
{
    return kind == E8M0_SCALES         ? low_powers_f32(v)
           : kind == E4M3_SCALES       ? low_e4m3_f32(v)
           : kind == UPPER_HALF_SCALES ? low_halves_f32(_mm512_srli_epi32(v, 16))
                                       : low_halves_f32(v);
}

#endif
