/* Unpacks sixteen weight rows to the layout of the int8 dot instructions: [k / 4][16 rows][4 elements] of bytes. */
#ifndef REALIZAR_AVX512_TILE_H
#define REALIZAR_AVX512_TILE_H

#include <string.h>

#include "realizar/avx512/lanes.h"
#include "realizar/matmul.h"

/* The elements [64 i, 64 i + 64) of a row as unsigned bytes (offset by the format's bias), in their order. */
typedef __m512i unpack_64_fn(const char *row, size_t i);

/* Pointers to sixteen rows of a matrix from row r on; from r1 on, the last row is repeated. */
typedef struct {
    const char *row[16];
} tile_rows;

static inline tile_rows tile_rows_at(const void *w, size_t w_stride, size_t r, size_t r1)
{
    tile_rows rows;
    for (size_t i = 0; i < 16; i++) rows.row[i] = (const char *)w + (r + i < r1 ? r + i : r1 - 1) * w_stride;
    return rows;
}

/* Sixty-four elements from 32 bytes: the low nibbles, then the high ones. */
RZ_INLINE __m512i unpack_nibbles_64(const uint8_t *packed)
{
    __m512i twice = _mm512_broadcast_i64x4(_mm256_loadu_si256((const __m256i *)packed));
    const __m512i by_0_4 = _mm512_set_epi64(4, 4, 4, 4, 0, 0, 0, 0);
    return _mm512_and_si512(_mm512_srlv_epi64(twice, by_0_4), _mm512_set1_epi8(15));
}

/* Dword j of vector i becomes dword i of vector j. */
RZ_INLINE void transpose_dwords(__m512i *v)
{
    __m512i t[16];
    for (int i = 0; i < 16; i += 4) {
        __m512i low01 = _mm512_unpacklo_epi32(v[i], v[i + 1]), high01 = _mm512_unpackhi_epi32(v[i], v[i + 1]);
        __m512i low23 = _mm512_unpacklo_epi32(v[i + 2], v[i + 3]), high23 = _mm512_unpackhi_epi32(v[i + 2], v[i + 3]);
        t[i] = _mm512_unpacklo_epi64(low01, low23);
        t[i + 1] = _mm512_unpackhi_epi64(low01, low23);
        t[i + 2] = _mm512_unpacklo_epi64(high01, high23);
        t[i + 3] = _mm512_unpackhi_epi64(high01, high23);
    }
    for (int j = 0; j < 4; j++) {
        __m512 lanes[4];
        for (int i = 0; i < 4; i++) lanes[i] = _mm512_castsi512_ps(t[4 * i + j]);
        transpose_lanes(lanes);
        for (int i = 0; i < 4; i++) v[4 * i + j] = _mm512_castps_si512(lanes[i]);
    }
}

/* Writes the elements [64 i, 64 i + 64) of each row as 1024 bytes at tile. */
RZ_INLINE void unpack_tile_64(unpack_64_fn *unpack_64, const char *const *rows, size_t i, char *tile)
{
    __m512i v[16];
#pragma GCC unroll 16
    for (int r = 0; r < 16; r++) v[r] = unpack_64(rows[r], i);
    transpose_dwords(v);
#pragma GCC unroll 16
    for (int j = 0; j < 16; j++) _mm512_store_si512(tile + 64 * j, v[j]);
}

/* Dword r: the four bytes at offset of row r. */
RZ_INLINE __m512i gather_dwords(const char *const *rows, size_t offset)
{
    int32_t dwords[16];
    for (int r = 0; r < 16; r++) memcpy(&dwords[r], rows[r] + offset, 4);
    return _mm512_loadu_si512(dwords);
}

/* Sixteen bytes of each row at rows[r] + offset, transposed: vector j holds dword j of the sixteen rows. */
RZ_INLINE void load_transposed_quads(const char *const *rows, size_t offset, __m512i *v)
{
    __m512i quads[4]; /* lane i of quads[j]: row 4 i + j */
#pragma GCC unroll 4
    for (int j = 0; j < 4; j++) {
        quads[j] = _mm512_castsi128_si512(_mm_loadu_si128((const __m128i *)(rows[j] + offset)));
#pragma GCC unroll 3
        for (int i = 1; i < 4; i++)
            quads[j] = _mm512_mask_broadcast_i32x4(quads[j], (__mmask16)(0xf << 4 * i),
                                                   _mm_loadu_si128((const __m128i *)(rows[4 * i + j] + offset)));
    }
    __m512i low01 = _mm512_unpacklo_epi32(quads[0], quads[1]), high01 = _mm512_unpackhi_epi32(quads[0], quads[1]);
    __m512i low23 = _mm512_unpacklo_epi32(quads[2], quads[3]), high23 = _mm512_unpackhi_epi32(quads[2], quads[3]);
    v[0] = _mm512_unpacklo_epi64(low01, low23);
    v[1] = _mm512_unpackhi_epi64(low01, low23);
    v[2] = _mm512_unpacklo_epi64(high01, high23);
    v[3] = _mm512_unpackhi_epi64(high01, high23);
}

/* Sixty-four bytes of each row. */
RZ_INLINE void load_transposed(const char *const *rows, size_t offset, __m512i *v)
{
#pragma GCC unroll 4
    for (size_t i = 0; i < 4; i++) load_transposed_quads(rows, offset + 16 * i, v + 4 * i);
}

/* The first k elements of each row. block_bytes: bytes of 32 elements; k may be an odd multiple of 32, and the row must
 * not be read beyond its end. */
RZ_INLINE void unpack_tile(unpack_64_fn *unpack_64, size_t block_bytes, const tile_rows *rows, size_t k, char *tile)
{
    for (size_t i = 0; i < k / 64; i++) unpack_tile_64(unpack_64, rows->row, i, tile + i * 1024);
    if (k % 64 == 0) return;
    char copies[16][128] = {{0}}, last[1024] __attribute__((aligned(64)));
    const char *copy_of[16];
    for (int r = 0; r < 16; r++) {
        memcpy(copies[r], rows->row[r] + k / 32 * block_bytes - block_bytes, block_bytes);
        copy_of[r] = copies[r];
    }
    unpack_tile_64(unpack_64, copy_of, 0, last);
    memcpy(tile + k / 64 * 1024, last, 512);
}

#endif
