/* Products of bytes by vpmaddubsw, whose 16-bit sums of two must not saturate. */
#ifndef REALIZAR_AVX2_DOT_S16_H
#define REALIZAR_AVX2_DOT_S16_H

#include "realizar/avx2/lanes.h"
#include "realizar/matmul.h"

/* How the elements of a format are multiplied: w as unsigned bytes up to max_w, x within [-127, 127]. Signed elements
 * (max_w 128) give their sign to x first. */
typedef struct {
    int max_w, is_signed;
} byte_kind;

/* Sums of two products as words. */
RZ_INLINE __m256i multiply_bytes(byte_kind kind, __m256i w, __m256i x)
{
    return kind.is_signed ? _mm256_maddubs_epi16(_mm256_abs_epi8(w), _mm256_sign_epi8(x, w))
                          : _mm256_maddubs_epi16(w, x);
}

/* How many such words may be added up. */
RZ_INLINE int words_to_add(byte_kind kind) { return 32767 / (2 * 127 * kind.max_w); }

#endif
