/* IQ2_S: 256 elements, eight at a time from a codebook of 1024, value d / 8 * (2 * scale + 1) * q. */
#ifndef REALIZAR_SCALAR_IQ2_S_H
#define REALIZAR_SCALAR_IQ2_S_H

#include "realizar/blocks.h"
#include "realizar/codebooks.h"
#include "realizar/scalar/codewords.h"
#include "realizar/scalar/dot_f32.h"
#include "realizar/scalar/half.h"
#include "realizar/scalar/ints.h"

static inline void iq2_s_unpack(const void *data, ints_256 *out)
{
    const rz_block_iq2_s *block = data;
    start_codewords(out, rz_f16_to_f32(block->d) * 0.125f);
    for (int g = 0; g < 16; g++) out->scale[g] = (int8_t)(2 * (block->scales[g / 2] >> g % 2 * 4 & 15) + 1);
    for (int i = 0; i < 32; i++) {
        unsigned index = block->qs[i] | (block->qh[i / 4] >> i % 4 * 2 & 3u) << 8;
        unpack_codeword(rz_iq2_s_grid[index], 8, block->signs[i], out->q + 8 * i);
    }
}

static void iq2_s_dequantize(const void *w, size_t k, float *y)
{
    dequantize_256(iq2_s_unpack, sizeof(rz_block_iq2_s), NO_MIN, w, k, y);
}

static void iq2_s_gemv(RZ_MATMUL_PARAMS) { gemv_256(iq2_s_unpack, sizeof(rz_block_iq2_s), NO_MIN, RZ_MATMUL_ARGS); }

static void iq2_s_matmul_f32(RZ_MATMUL_PARAMS) { dequantize_and_dot(iq2_s_dequantize, RZ_MATMUL_ARGS); }

#endif
