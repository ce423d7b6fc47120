/* Eight weight rows at a time, and their unpacking to [k / 4][8 rows][4 elements] of bytes. */
#ifndef REALIZAR_AVX2_ROWS_H
#define REALIZAR_AVX2_ROWS_H

#ifdef RZ_AVXVNNI
#include "realizar/avxvnni/dot.h"
#else
#include "realizar/avx2/dot.h"
#endif
#include "realizar/matmul.h"
#include "realizar/streams.h"

/* The elements [32 i, 32 i + 32) of a row as bytes, in their order. */
typedef __m256i unpack_32_fn(const char *row, size_t i);

/* Eight rows and their indices; if there are fewer, the last row is repeated. */
typedef struct {
    const char *row[8];
    size_t at[8];
} eight_rows;

/* Consecutive rows from r on. */
static inline eight_rows eight_rows_at(const void *w, size_t w_stride, size_t r, size_t r1)
{
    eight_rows rows;
    for (size_t i = 0; i < 8; i++) {
        rows.at[i] = r + i < r1 ? r + i : r1 - 1;
        rows.row[i] = (const char *)w + rows.at[i] * w_stride;
    }
    return rows;
}

/* One of each of eight runs of rows (streams.h). */
static inline eight_rows eight_rows_of_streams(const void *w, size_t w_stride, size_t r0, size_t r1, size_t step)
{
    eight_rows rows;
    size_t n_steps = stream_steps(r0, r1, 8);
    for (size_t i = 0; i < 8; i++) {
        rows.at[i] = stream_row(r0, r1, n_steps, i, step);
        rows.row[i] = (const char *)w + rows.at[i] * w_stride;
    }
    return rows;
}

/* Prefetch distance of a row of a GEMV, in bytes. */
enum { AHEAD = 1024 };

static inline void store_rows(float *y, const eight_rows *rows, __m256 dots)
{
    float dot[8];
    _mm256_storeu_ps(dot, dots);
    for (int i = 0; i < 8; i++) y[rows->at[i]] = dot[i];
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

#endif
