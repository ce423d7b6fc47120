/* IQ3_S: 256 elements, four at a time from a codebook of 512, value d * (2 * scale + 1) * q. */
#ifndef REALIZAR_SCALAR_IQ3_S_H
#define REALIZAR_SCALAR_IQ3_S_H

#include "realizar/blocks.h"
#include "realizar/codebooks.h"
#include "realizar/scalar/codewords.h"
#include "realizar/scalar/dot_f32.h"
#include "realizar/scalar/half.h"
#include "realizar/scalar/ints.h"

static inline void iq3_s_unpack(const void *data, ints_256 *out)
{
    const rz_block_iq3_s *block = data;
    start_codewords(out, rz_f16_to_f32(block->d));
    for (int j = 0; j < 8; j++) set_odd_scale(out, j, block->scales[j / 2] >> j % 2 * 4 & 15);
    for (int i = 0; i < 64; i++) {
        unsigned index = block->qs[i] | (block->qh[i / 8] >> i % 8 & 1u) << 8;
        unpack_codeword(rz_iq3_s_grid[index], 4, block->signs[i / 2] >> i % 2 * 4, out->q + 4 * i);
    }
}

static void iq3_s_dequantize(const void *w, size_t k, float *y)
{
    dequantize_256(iq3_s_unpack, sizeof(rz_block_iq3_s), NO_MIN, w, k, y);
}

static void iq3_s_gemv(RZ_MATMUL_PARAMS) { gemv_256(iq3_s_unpack, sizeof(rz_block_iq3_s), NO_MIN, RZ_MATMUL_ARGS); }

static void iq3_s_matmul_f32(RZ_MATMUL_PARAMS) { dequantize_and_dot(iq3_s_dequantize, RZ_MATMUL_ARGS); }

#endif
