/* IQ3_XXS: codewords of four from 256, seven bits of signs for eight elements, eight scales. */
#ifndef REALIZAR_AVX2_IQ3_XXS_H
#define REALIZAR_AVX2_IQ3_XXS_H

#include "realizar/avx2/codewords.h"
#include "realizar/avx2/dot_f32.h"
#include "realizar/isa_levels.h"

static inline __m256i iq3_xxs_unpack_32(const char *row, size_t i)
{
    const rz_block_iq3_xxs *block = (const rz_block_iq3_xxs *)row + i / 8;
    unsigned index[8];
    uint32_t rest;
    memcpy(&rest, block->signs + i % 8 * 4, sizeof rest);
#pragma GCC unroll 8
    for (int j = 0; j < 8; j++) index[j] = block->qs[i % 8 * 8 + (size_t)j];
    return with_signs(codewords_of_4(rz_iq3_xxs_grid, index), even_signs_4(rest), IQ3_XXS_BIAS);
}

static const format_256 iq3_xxs_format = {
    iq3_xxs_unpack_32, iq3_xxs_scales, NULL, {2 * IQ3_XXS_BIAS, 0}, sizeof(rz_block_iq3_xxs), 0, IQ3_XXS_BIAS, 32, 2};

RZ_GEMV(iq3_xxs, gemv_256, iq3_xxs_format)

static void iq3_xxs_gemm(RZ_MATMUL_PARAMS) { gemm_256(iq3_xxs_format, RZ_MATMUL_ARGS); }

static void iq3_xxs_matmul_f32(RZ_MATMUL_PARAMS)
{
    dequantize_and_dot(rz_scalar.format[RZ_IQ3_XXS].dequantize, RZ_MATMUL_ARGS);
}

#endif
