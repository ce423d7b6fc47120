/* Eight weight rows at a time, and their unpacking to [k / 4][8 rows][4 elements] of bytes. */
#ifndef REALIZAR_AVX2_ROWS_H
#define REALIZAR_AVX2_ROWS_H

#include "realizar/avx2/dot_s16.h"

/* The elements [32 i, 32 i + 32) of a row as bytes, in their order. */
typedef __m256i unpack_32_fn(const char *row, size_t i);

/* There may be fewer than eight rows, then the last one stands in for the missing ones. */
typedef struct {
    const char *row[8];
    size_t n;
} eight_rows;

static inline eight_rows eight_rows_at(const void *w, size_t w_stride, size_t r, size_t r1)
{
    eight_rows rows;
    rows.n = r1 - r < 8 ? r1 - r : 8;
    for (size_t i = 0; i < 8; i++) rows.row[i] = (const char *)w + (r + (i < rows.n ? i : rows.n - 1)) * w_stride;
    return rows;
}

RZ_INLINE void unpack_rows(unpack_32_fn *unpack, const eight_rows *rows, size_t k, char *tile)
{
    for (size_t i = 0; i < k / 32; i++) {
        __m256i v[8];
#pragma GCC unroll 8
        for (int r = 0; r < 8; r++) v[r] = unpack(rows->row[r], i);
        transpose_dwords(v);
#pragma GCC unroll 8
        for (int j = 0; j < 8; j++) _mm256_store_si256((__m256i *)(tile + i * 256) + j, v[j]);
    }
}

/* Four elements of a token in every lane. */
RZ_INLINE __m256i broadcast_4(const char *x)
{
    int32_t four;
    memcpy(&four, x, sizeof four);
    return _mm256_set1_epi32(four);
}

/* Adds to isum[t] of each token the dots of n_step * 4 elements, times the two equal words of each dword of factor. */
RZ_INLINE void multiply_steps(byte_kind kind, const char *tile, int n_step, __m256i factor, const char *x,
                              size_t x_stride, int n_tokens, __m256i *isum)
{
    int run = words_to_add(kind) < n_step ? words_to_add(kind) : n_step;
#pragma GCC unroll 8
    for (int i = 0; i < n_step; i += run) {
        __m256i words[4];
#pragma GCC unroll 8
        for (int j = i; j < i + run; j++) {
            __m256i w = _mm256_load_si256((const __m256i *)tile + j);
#pragma GCC unroll 4
            for (int t = 0; t < n_tokens; t++) {
                __m256i products = multiply_bytes(kind, w, broadcast_4(x + (size_t)t * x_stride + 4 * j));
                words[t] = j == i ? products : _mm256_add_epi16(words[t], products);
            }
        }
#pragma GCC unroll 4
        for (int t = 0; t < n_tokens; t++) isum[t] = _mm256_add_epi32(isum[t], _mm256_madd_epi16(words[t], factor));
    }
}

#endif
