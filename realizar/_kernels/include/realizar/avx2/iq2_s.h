/* IQ2_S: codewords of eight from 1024, signs, sixteen scales. */
#ifndef REALIZAR_AVX2_IQ2_S_H
#define REALIZAR_AVX2_IQ2_S_H

#include "realizar/avx2/codewords.h"
#include "realizar/avx2/dot_f32.h"
#include "realizar/isa_levels.h"

static inline __m256i iq2_s_unpack_32(const char *row, size_t i)
{
    const rz_block_iq2_s *block = (const rz_block_iq2_s *)row + i / 8;
    unsigned index[4], high = block->qh[i % 8];
    uint32_t signs;
    memcpy(&signs, block->signs + i % 8 * 4, sizeof signs);
#pragma GCC unroll 4
    for (int j = 0; j < 4; j++) index[j] = block->qs[i % 8 * 4 + (size_t)j] | (high << (8 - 2 * j) & 0x300);
    return with_signs(codewords_of_8(rz_iq2_s_grid, index), signs, IQ2_BIAS);
}

static const format_256 iq2_s_format = {
    iq2_s_unpack_32, iq2_s_scales, NULL, {2 * IQ2_BIAS, 0}, sizeof(rz_block_iq2_s), 0, IQ2_BIAS, 16, 3};

RZ_GEMV(iq2_s, gemv_256, iq2_s_format)

static void iq2_s_gemm(RZ_MATMUL_PARAMS) { gemm_256(iq2_s_format, RZ_MATMUL_ARGS); }

static void iq2_s_matmul_f32(RZ_MATMUL_PARAMS)
{
    dequantize_and_dot(rz_scalar.format[RZ_IQ2_S].dequantize, RZ_MATMUL_ARGS);
}

#endif
