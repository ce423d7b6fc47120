/* Codewords of the IQ formats as 32 unsigned bytes, offset by a bias. */
#ifndef REALIZAR_AVX2_CODEWORDS_H
#define REALIZAR_AVX2_CODEWORDS_H

#include "realizar/avx2/nibbles.h"
#include "realizar/avx2/product_256.h"
#include "realizar/codebooks.h"
#include "realizar/scalar/codeword_bits.h"
#include "realizar/wide/codeword_scales.h"

/* The biases: at least the greatest magnitude. */
enum { IQ1_BIAS = 16, IQ2_BIAS = 43, IQ3_XXS_BIAS = 62, IQ3_S_BIAS = 16 };

/* 0xff in byte i if bit i of signs is set. */
RZ_INLINE __m256i sign_bytes(uint32_t signs)
{
    const __m256i byte = _mm256_setr_epi64x(0, 0x0101010101010101, 0x0202020202020202, 0x0303030303030303);
    const __m256i bit = _mm256_set1_epi64x((long long)0x8040201008040201);
    __m256i spread = _mm256_shuffle_epi8(_mm256_set1_epi32((int)signs), byte);
    return _mm256_cmpeq_epi8(_mm256_and_si256(spread, bit), bit);
}

/* bias + q, or bias - q where a bit of signs is set. */
RZ_INLINE __m256i with_signs(__m256i q, uint32_t signs, int bias)
{
    __m256i negative = sign_bytes(signs);
    __m256i rest = _mm256_sub_epi8(_mm256_set1_epi8((char)bias), negative);
    return _mm256_add_epi8(_mm256_xor_si256(q, negative), rest);
}

RZ_INLINE __m256i codewords_of_8(const uint64_t *grid, const unsigned *index)
{
    return _mm256_setr_epi64x((long long)grid[index[0]], (long long)grid[index[1]], (long long)grid[index[2]],
                              (long long)grid[index[3]]);
}

RZ_INLINE __m256i codewords_of_4(const uint32_t *grid, const unsigned *index)
{
    return _mm256_setr_epi32((int)grid[index[0]], (int)grid[index[1]], (int)grid[index[2]], (int)grid[index[3]],
                             (int)grid[index[4]], (int)grid[index[5]], (int)grid[index[6]], (int)grid[index[7]]);
}

/* The magnitudes of IQ1 are offset in the codebook; delta 1 or -1 is that of eight elements, in each byte. */
RZ_INLINE __m256i with_deltas(const unsigned *index, __m256i deltas)
{
    return _mm256_add_epi8(codewords_of_8(rz_iq1_s_grid, index), deltas);
}

#endif
