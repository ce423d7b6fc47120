/* Tiles of sixteen tokens, and storing their results. */
#ifndef REALIZAR_AMX_TOKEN_TILES_H
#define REALIZAR_AMX_TOKEN_TILES_H

#include "realizar/amx/tiles.h"
#include "realizar/avx512/micro_kernels.h"

/* Greatest number of tokens that share the unpacked weights. */
enum { MAX_TOKENS = 960 };

/* The sixteen tokens of tile i, the first one being `first`. The last tile overlaps the one before it, so that it is
 * full: only its tokens from index `begin` on are new. There are at least sixteen tokens. */
typedef struct {
    size_t first, begin;
} token_tile;

static inline token_tile token_tile_at(size_t n, size_t i)
{
    size_t first = 16 * i + 16 <= n ? 16 * i : n - 16;
    return (token_tile){first, 16 * i - first};
}

/* Results of at least this many bytes are stored with streaming stores of whole lines: they would not stay in the
 * caches, and normal stores, which first read the line, took 7 % of phi-2's prefill. */
enum { STREAMED_BYTES = 256 * 1024 };

static void store_line(float *row, int streamed, __mmask16 there, __m512 sum)
{
    if (streamed && there == 0xffff && (uintptr_t)row % 64 == 0)
        _mm512_stream_ps(row, sum);
    else
        _mm512_mask_storeu_ps(row, there, sum);
}

/* Stores the sums of n tokens, [tile][sixteen rows][token][row], to those rows [r, r + 32) of y that are below r1. */
static void store_rows(float (*acc)[2][16][16], size_t n, size_t r, size_t r1, float *y, size_t ldy)
{
    rows_there there = rows_there_at(r, r1);
    int streamed = n * ldy * sizeof(float) >= STREAMED_BYTES;
    for (size_t i = 0; 16 * i < n; i++) {
        token_tile at = token_tile_at(n, i);
        for (size_t t = at.begin; t < 16; t++) {
            float *row = y + (at.first + t) * ldy + r;
            store_line(row, streamed, there.first, _mm512_load_ps(acc[i][0][t]));
            store_line(row + 16, streamed, there.second, _mm512_load_ps(acc[i][1][t]));
        }
    }
    _mm_sfence(); /* before other threads may read them */
}

#endif
