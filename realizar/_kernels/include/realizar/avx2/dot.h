/* Products of bytes with vpmaddubsw, whose 16-bit sums of two products must not saturate. */
#ifndef REALIZAR_AVX2_DOT_H
#define REALIZAR_AVX2_DOT_H

#include "realizar/avx2/lanes.h"

/* How the elements of a format are multiplied: w as unsigned bytes up to max_w, x within [-127, 127]. The sign of
 * signed elements (max_w 128) is moved to x. */
typedef struct {
    int max_w, is_signed;
} byte_kind;

/* The bias that is added to the elements of a signed format before they are multiplied. */
RZ_INLINE int signed_bias(byte_kind kind)
{
    (void)kind;
    return 0;
}

/* Sums of two products as words. */
RZ_INLINE __m256i multiply_bytes(byte_kind kind, __m256i w, __m256i x)
{
    return kind.is_signed ? _mm256_maddubs_epi16(_mm256_abs_epi8(w), _mm256_sign_epi8(x, w))
                          : _mm256_maddubs_epi16(w, x);
}

/* Sums of four products as dwords. */
RZ_INLINE __m256i dot_bytes(byte_kind kind, __m256i w, __m256i x)
{
    return _mm256_madd_epi16(multiply_bytes(kind, w, x), _mm256_set1_epi16(1));
}

/* sum plus words times scales, in neighbouring pairs. */
RZ_INLINE __m256i add_scaled_words(__m256i sum, __m256i words, __m256i scales)
{
    return _mm256_add_epi32(sum, _mm256_madd_epi16(words, scales));
}

/* How many results of multiply_bytes can be added without overflow. */
RZ_INLINE int words_to_add(byte_kind kind) { return 32767 / (2 * 127 * kind.max_w); }

/* Adds to isum[t] of each token the dot products of n_step * 4 elements, times *factor (NULL: 1), in which the two
 * words of each dword are equal. */
RZ_INLINE void multiply_steps(byte_kind kind, const char *tile, int n_step, const __m256i *factor, const char *x,
                              size_t x_stride, int n_tokens, __m256i *isum)
{
    int run = words_to_add(kind) < n_step ? words_to_add(kind) : n_step;
    __m256i scale = factor ? *factor : _mm256_set1_epi16(1);
#pragma GCC unroll 8
    for (int i = 0; i < n_step; i += run) {
        __m256i words[4];
#pragma GCC unroll 8
        for (int j = 0; j < run; j++) {
            __m256i w = _mm256_load_si256((const __m256i *)tile + i + j);
#pragma GCC unroll 4
            for (int t = 0; t < n_tokens; t++) {
                __m256i products = multiply_bytes(kind, w, broadcast_4(x + (size_t)t * x_stride + 4 * (i + j)));
                words[t] = j == 0 ? products : _mm256_add_epi16(words[t], products);
            }
        }
#pragma GCC unroll 4
        for (int t = 0; t < n_tokens; t++) isum[t] = add_scaled_words(isum[t], words[t], scale);
    }
}

#endif
