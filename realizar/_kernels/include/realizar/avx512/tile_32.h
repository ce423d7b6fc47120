/* Unpacks sixteen rows of a 32-element format: elements, scales and minima of some blocks. */
#ifndef REALIZAR_AVX512_TILE_32_H
#define REALIZAR_AVX512_TILE_32_H

#include "realizar/avx512/micro_kernels.h"

/* bias_bits: log2 of the bias of the unsigned elements; 0: none. block_bytes are those of 32 << log2_parts elements, d_at
 * is where d is in them. */
typedef struct {
    unpack_64_fn *unpack_64;
    int block_bytes, bias_bits, has_min, scales;
    int log2_parts, d_at;
} gemm_32_format;

/* m: minima, or the scales of the second halves of 32 elements. */
typedef struct {
    char *q;
    float *d, *m;
} tile_32;

/* By format, for the amx level. */
extern const gemm_32_format *const rz_avx512_gemm_32[RZ_N_FORMATS];

/* Some blocks of sixteen rows, from block `first` on. */
RZ_INLINE void unpack_slice_32(gemm_32_format format, const tile_rows *rows, size_t first, size_t n_blocks,
                               const tile_32 *tile, fetch_rows *next)
{
    tile_rows from;
    for (int r = 0; r < 16; r++) from.row[r] = rows->row[r] + (first >> format.log2_parts) * (size_t)format.block_bytes;
    unpack_tile(format.unpack_64, (size_t)format.block_bytes, &from, n_blocks * 32, tile->q);
    const size_t parts = (size_t)1 << format.log2_parts;
    for (size_t b = 0; b < n_blocks; b++) {
        __m512i scales = gather_dwords(from.row, (b / parts) * (size_t)format.block_bytes + (size_t)format.d_at);
        if (format.scales == E4M3_SCALES && b % 2) scales = _mm512_srli_epi32(scales, 16);
        _mm512_store_ps(tile->d + b * 16, low_scales_f32(format.scales, scales));
        if (format.scales == E4M3_SCALES)
            _mm512_store_ps(tile->m + b * 16, low_e4m3_f32(_mm512_srli_epi32(scales, 8)));
        else if (format.has_min)
            _mm512_store_ps(tile->m + b * 16, low_halves_f32(_mm512_srli_epi32(scales, 16)));
        fetch_some(next);
    }
}

#endif
