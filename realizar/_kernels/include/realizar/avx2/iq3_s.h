/* IQ3_S: codewords of four from 512, signs, eight scales. */
#ifndef REALIZAR_AVX2_IQ3_S_H
#define REALIZAR_AVX2_IQ3_S_H

#include "realizar/avx2/codewords.h"
#include "realizar/avx2/dot_f32.h"
#include "realizar/isa_levels.h"

static inline __m256i iq3_s_unpack_32(const char *row, size_t i)
{
    const rz_block_iq3_s *block = (const rz_block_iq3_s *)row + i / 8;
    unsigned index[8], high = block->qh[i % 8];
    uint32_t signs;
    memcpy(&signs, block->signs + i % 8 * 4, sizeof signs);
#pragma GCC unroll 8
    for (int j = 0; j < 8; j++) index[j] = block->qs[i % 8 * 8 + (size_t)j] | (high << (8 - j) & 0x100);
    return with_signs(codewords_of_4(rz_iq3_s_grid, index), signs, IQ3_S_BIAS);
}

static const format_256 iq3_s_format = {
    iq3_s_unpack_32, iq3_s_scales, NULL, {2 * IQ3_S_BIAS, 0}, sizeof(rz_block_iq3_s), 0, IQ3_S_BIAS, 32, 0};

RZ_GEMV(iq3_s, gemv_256, iq3_s_format)

static void iq3_s_gemm(RZ_MATMUL_PARAMS) { gemm_256(iq3_s_format, RZ_MATMUL_ARGS); }

static void iq3_s_matmul_f32(RZ_MATMUL_PARAMS)
{
    dequantize_and_dot(rz_scalar.format[RZ_IQ3_S].dequantize, RZ_MATMUL_ARGS);
}

#endif
