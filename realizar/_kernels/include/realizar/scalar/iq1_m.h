/* IQ1_M: 256 elements, eight at a time from a codebook of 2048, value d / 8 * (2 * scale + 1) * (8 * v + delta). */
#ifndef REALIZAR_SCALAR_IQ1_M_H
#define REALIZAR_SCALAR_IQ1_M_H

#include "realizar/blocks.h"
#include "realizar/codebooks.h"
#include "realizar/scalar/codewords.h"
#include "realizar/scalar/dot_f32.h"
#include "realizar/scalar/half.h"
#include "realizar/scalar/ints.h"

static inline void iq1_m_unpack(const void *data, ints_256 *out)
{
    const rz_block_iq1_m *block = data;
    start_codewords(out, rz_f16_to_f32(iq1_m_d(block)) * 0.125f);
    for (int g = 0; g < 16; g++) out->scale[g] = (int8_t)(2 * (block->scales[g / 4] >> g % 4 * 3 & 7) + 1);
    for (int i = 0; i < 32; i++) {
        unsigned high = block->qh[i / 2] >> i % 2 * 4 & 15, index = block->qs[i] | (high & 7) << 8;
        unpack_ternary(rz_iq1_s_grid[index], high >> 3 ? -1 : 1, out->q + 8 * i);
    }
}

static void iq1_m_dequantize(const void *w, size_t k, float *y)
{
    dequantize_256(iq1_m_unpack, sizeof(rz_block_iq1_m), NO_MIN, w, k, y);
}

static void iq1_m_gemv(RZ_MATMUL_PARAMS) { gemv_256(iq1_m_unpack, sizeof(rz_block_iq1_m), NO_MIN, RZ_MATMUL_ARGS); }

static void iq1_m_matmul_f32(RZ_MATMUL_PARAMS) { dequantize_and_dot(iq1_m_dequantize, RZ_MATMUL_ARGS); }

#endif
