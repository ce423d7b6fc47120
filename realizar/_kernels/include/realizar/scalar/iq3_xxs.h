/* IQ3_XXS: 256 elements, four at a time from a codebook of 256, value d / 4 * (2 * scale + 1) * q. */
#ifndef REALIZAR_SCALAR_IQ3_XXS_H
#define REALIZAR_SCALAR_IQ3_XXS_H

#include "realizar/blocks.h"
#include "realizar/codebooks.h"
#include "realizar/scalar/codewords.h"
#include "realizar/scalar/dot_f32.h"
#include "realizar/scalar/half.h"
#include "realizar/scalar/ints.h"

static inline void iq3_xxs_unpack(const void *data, ints_256 *out)
{
    const rz_block_iq3_xxs *block = data;
    start_codewords(out, rz_f16_to_f32(block->d) * 0.25f);
    for (int j = 0; j < 8; j++) {
        uint32_t rest;
        memcpy(&rest, block->signs + 4 * j, sizeof rest);
        set_odd_scale(out, j, rest >> 28);
        for (int i = 0; i < 8; i++) {
            unsigned signs = even_signs(rest >> i / 2 * 7) >> i % 2 * 4;
            unpack_codeword(rz_iq3_xxs_grid[block->qs[8 * j + i]], 4, signs, out->q + 32 * j + 4 * i);
        }
    }
}

static void iq3_xxs_dequantize(const void *w, size_t k, float *y)
{
    dequantize_256(iq3_xxs_unpack, sizeof(rz_block_iq3_xxs), NO_MIN, w, k, y);
}

static void iq3_xxs_gemv(RZ_MATMUL_PARAMS)
{
    gemv_256(iq3_xxs_unpack, sizeof(rz_block_iq3_xxs), NO_MIN, RZ_MATMUL_ARGS);
}

static void iq3_xxs_matmul_f32(RZ_MATMUL_PARAMS) { dequantize_and_dot(iq3_xxs_dequantize, RZ_MATMUL_ARGS); }

#endif
