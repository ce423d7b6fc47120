/* IQ2_XXS: 256 elements, eight at a time from a codebook of 256, value d / 8 * (2 * scale + 1) * q. */
#ifndef REALIZAR_SCALAR_IQ2_XXS_H
#define REALIZAR_SCALAR_IQ2_XXS_H

#include "realizar/blocks.h"
#include "realizar/codebooks.h"
#include "realizar/scalar/codewords.h"
#include "realizar/scalar/dot_f32.h"
#include "realizar/scalar/half.h"
#include "realizar/scalar/ints.h"

static inline void iq2_xxs_unpack(const void *data, ints_256 *out)
{
    const rz_block_iq2_xxs *block = data;
    start_codewords(out, rz_f16_to_f32(block->d) * 0.125f);
    for (int j = 0; j < 8; j++) {
        const uint8_t *qs = block->qs + 8 * j;
        uint32_t rest;
        memcpy(&rest, qs + 4, sizeof rest);
        set_odd_scale(out, j, rest >> 28);
        for (int i = 0; i < 4; i++)
            unpack_codeword(rz_iq2_xxs_grid[qs[i]], 8, even_signs(rest >> 7 * i), out->q + 32 * j + 8 * i);
    }
}

static void iq2_xxs_dequantize(const void *w, size_t k, float *y)
{
    dequantize_256(iq2_xxs_unpack, sizeof(rz_block_iq2_xxs), NO_MIN, w, k, y);
}

static void iq2_xxs_gemv(RZ_MATMUL_PARAMS)
{
    gemv_256(iq2_xxs_unpack, sizeof(rz_block_iq2_xxs), NO_MIN, RZ_MATMUL_ARGS);
}

static void iq2_xxs_matmul_f32(RZ_MATMUL_PARAMS) { dequantize_and_dot(iq2_xxs_dequantize, RZ_MATMUL_ARGS); }

#endif
