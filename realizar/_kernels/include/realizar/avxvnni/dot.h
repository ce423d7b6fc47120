/* Products of bytes with vpdpbusd: the same functions as avx2/dot.h, with fewer instructions. */
#ifndef REALIZAR_AVXVNNI_DOT_H
#define REALIZAR_AVXVNNI_DOT_H

#include "realizar/avx2/lanes.h"

/* w as unsigned bytes up to max_w, x within [-127, 127]; signed elements are offset by 128. */
typedef struct {
    int max_w, is_signed;
} byte_kind;

RZ_INLINE int signed_bias(byte_kind kind) { return kind.is_signed ? 128 : 0; }

RZ_INLINE __m256i unsigned_bytes(byte_kind kind, __m256i w)
{
    return kind.is_signed ? _mm256_xor_si256(w, _mm256_set1_epi8((char)0x80)) : w;
}

/* Sums of two products as words; unsigned elements below 128, or signed ones, whose sign is moved to x. */
RZ_INLINE __m256i multiply_bytes(byte_kind kind, __m256i w, __m256i x)
{
    return kind.is_signed ? _mm256_maddubs_epi16(_mm256_abs_epi8(w), _mm256_sign_epi8(x, w))
                          : _mm256_maddubs_epi16(w, x);
}

RZ_INLINE __m256i dot_bytes(byte_kind kind, __m256i w, __m256i x)
{
    return _mm256_dpbusd_avx_epi32(_mm256_setzero_si256(), unsigned_bytes(kind, w), x);
}

RZ_INLINE __m256i add_scaled_words(__m256i sum, __m256i words, __m256i scales)
{
    return _mm256_dpwssd_avx_epi32(sum, words, scales);
}

/* The number of vpdpbusd steps whose sum fits in 16 bits, so that vpdpwssd can apply a scale to it. */
RZ_INLINE int steps_to_add(byte_kind kind) { return 32767 / (4 * 127 * kind.max_w); }

/* sum plus part times the scale in both words of factor; fits: part fits in 16 bits. */
RZ_INLINE __m256i add_scaled(__m256i sum, __m256i part, __m256i factor, int fits)
{
    if (fits) return _mm256_dpwssd_avx_epi32(sum, part, _mm256_and_si256(factor, _mm256_set1_epi32(0xffff)));
    return _mm256_add_epi32(sum, _mm256_mullo_epi32(part, _mm256_srai_epi32(factor, 16)));
}

/* If nearly every step had to be scaled separately, all steps are added first, and vpmulld applies the scale. */
RZ_INLINE void multiply_steps(byte_kind kind, const char *tile, int n_step, const __m256i *factor, const char *x,
                              size_t x_stride, int n_tokens, __m256i *isum)
{
    int fit = steps_to_add(kind) < n_step ? steps_to_add(kind) : n_step,
        run = factor && 2 * fit >= n_step ? fit : n_step;
#pragma GCC unroll 8
    for (int i = 0; i < n_step; i += run) {
        __m256i part[4];
#pragma GCC unroll 4
        for (int t = 0; t < n_tokens; t++) part[t] = factor ? _mm256_setzero_si256() : isum[t];
#pragma GCC unroll 8
        for (int j = 0; j < run; j++) {
            __m256i w = unsigned_bytes(kind, _mm256_load_si256((const __m256i *)tile + i + j));
#pragma GCC unroll 4
            for (int t = 0; t < n_tokens; t++)
                part[t] = _mm256_dpbusd_avx_epi32(part[t], w, broadcast_4(x + (size_t)t * x_stride + 4 * (i + j)));
        }
#pragma GCC unroll 4
        for (int t = 0; t < n_tokens; t++)
            isum[t] = factor ? add_scaled(isum[t], part[t], *factor, run == fit) : part[t];
    }
}

#endif
