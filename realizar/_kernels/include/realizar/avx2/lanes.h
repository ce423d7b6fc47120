/* Sums and transposes of eight ymm registers, and the scales of eight rows. */
#ifndef REALIZAR_AVX2_LANES_H
#define REALIZAR_AVX2_LANES_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "realizar/target.h"

/* Dword r: the sum of the four dwords of the lower (sums[0]) or upper lane of vector r. */
RZ_INLINE void sum_lanes_i32(const __m256i *v, __m256i *sums)
{
    __m256i sum_01 = _mm256_hadd_epi32(v[0], v[1]), sum_23 = _mm256_hadd_epi32(v[2], v[3]);
    __m256i sum_45 = _mm256_hadd_epi32(v[4], v[5]), sum_67 = _mm256_hadd_epi32(v[6], v[7]);
    __m256i low = _mm256_hadd_epi32(sum_01, sum_23), high = _mm256_hadd_epi32(sum_45, sum_67);
    sums[0] = _mm256_permute2x128_si256(low, high, 0x20);
    sums[1] = _mm256_permute2x128_si256(low, high, 0x31);
}

/* Dword r: the sum of the eight dwords of vector r. */
RZ_INLINE __m256i sum_each_i32(const __m256i *v)
{
    __m256i sums[2];
    sum_lanes_i32(v, sums);
    return _mm256_add_epi32(sums[0], sums[1]);
}

/* Dword j of vector i becomes dword i of vector j. */
RZ_INLINE void transpose_dwords(__m256i *v)
{
    __m256i t[8];
    for (int i = 0; i < 8; i += 4) {
        __m256i low01 = _mm256_unpacklo_epi32(v[i], v[i + 1]), high01 = _mm256_unpackhi_epi32(v[i], v[i + 1]);
        __m256i low23 = _mm256_unpacklo_epi32(v[i + 2], v[i + 3]), high23 = _mm256_unpackhi_epi32(v[i + 2], v[i + 3]);
        t[i] = _mm256_unpacklo_epi64(low01, low23);
        t[i + 1] = _mm256_unpackhi_epi64(low01, low23);
        t[i + 2] = _mm256_unpacklo_epi64(high01, high23);
        t[i + 3] = _mm256_unpackhi_epi64(high01, high23);
    }
    for (int j = 0; j < 4; j++) {
        v[j] = _mm256_permute2x128_si256(t[j], t[4 + j], 0x20);
        v[4 + j] = _mm256_permute2x128_si256(t[j], t[4 + j], 0x31);
    }
}

/* Broadcasts four elements of a token to every lane. */
RZ_INLINE __m256i broadcast_4(const char *x)
{
    int32_t four;
    memcpy(&four, x, sizeof four);
    return _mm256_set1_epi32(four);
}

/* The half floats at offset of eight rows. */
RZ_INLINE __m256 halves_of_rows(const char *const *rows, size_t offset)
{
    uint16_t halves[8];
    for (int r = 0; r < 8; r++) memcpy(&halves[r], rows[r] + offset, 2);
    return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)halves));
}

/* The powers of two whose exponents are the bytes at offset of eight rows (e8m0_f32 in scalar/mxfp4.h). */
RZ_INLINE __m256 powers_of_rows(const char *const *rows, size_t offset)
{
    uint8_t bytes[8];
    for (int r = 0; r < 8; r++) bytes[r] = (uint8_t)rows[r][offset];
    __m256i e = _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)bytes));
    __m256i normal = _mm256_slli_epi32(_mm256_sub_epi32(e, _mm256_set1_epi32(1)), 23);
    __m256i denormal = _mm256_sllv_epi32(_mm256_set1_epi32(0x00200000), e);
    return _mm256_castsi256_ps(_mm256_blendv_epi8(normal, denormal, _mm256_cmpgt_epi32(_mm256_set1_epi32(2), e)));
}

/* Halves of the unsigned E4M3 numbers at offset of eight rows (ue4m3_f32 in scalar/nvfp4.h). Seven bits are shifted to
 * exponent and mantissa; those of a denormal number, with the next exponent, give it plus 2^-7. (A denormal float
 * instead would take a hundred cycles.) */
RZ_INLINE __m256 e4m3_of_rows(const char *const *rows, size_t offset)
{
    uint8_t bytes[8];
    for (int r = 0; r < 8; r++) bytes[r] = (uint8_t)rows[r][offset];
    const __m256i seven = _mm256_set1_epi32(0x7f), bias = _mm256_set1_epi32(119 << 23);
    __m256i x = _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)bytes));
    __m256i low = _mm256_and_si256(x, seven), denormal = _mm256_cmpgt_epi32(_mm256_set1_epi32(8), low);
    __m256i bits = _mm256_add_epi32(_mm256_slli_epi32(low, 20), bias);
    bits = _mm256_add_epi32(bits, _mm256_and_si256(denormal, _mm256_set1_epi32(1 << 23)));
    __m256 more = _mm256_and_ps(_mm256_castsi256_ps(denormal), _mm256_set1_ps(0x1p-7f));
    __m256 value = _mm256_sub_ps(_mm256_castsi256_ps(bits), more);
    return _mm256_andnot_ps(_mm256_castsi256_ps(_mm256_cmpeq_epi32(x, seven)), value);
}

/* Mask of the lanes below n, for maskstore. */
RZ_INLINE __m256i first_rows(size_t n)
{
    return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

#endif
