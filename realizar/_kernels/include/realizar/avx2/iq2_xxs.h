/* IQ2_XXS: codewords of eight from 256, seven bits of signs for each, eight scales. */
#ifndef REALIZAR_AVX2_IQ2_XXS_H
#define REALIZAR_AVX2_IQ2_XXS_H

#include "realizar/avx2/codewords.h"
#include "realizar/avx2/dot_f32.h"
#include "realizar/isa_levels.h"

static inline __m256i iq2_xxs_unpack_32(const char *row, size_t i)
{
    const rz_block_iq2_xxs *block = (const rz_block_iq2_xxs *)row + i / 8;
    const uint8_t *qs = block->qs + i % 8 * 8;
    const unsigned index[4] = {qs[0], qs[1], qs[2], qs[3]};
    uint32_t rest;
    memcpy(&rest, qs + 4, sizeof rest);
    return with_signs(codewords_of_8(rz_iq2_xxs_grid, index), even_signs_4(rest), IQ2_BIAS);
}

static const format_256 iq2_xxs_format = {
    iq2_xxs_unpack_32, iq2_xxs_scales, NULL, {2 * IQ2_BIAS, 0}, sizeof(rz_block_iq2_xxs), 0, IQ2_BIAS, 32, 3};

RZ_GEMV(iq2_xxs, gemv_256, iq2_xxs_format)

static void iq2_xxs_gemm(RZ_MATMUL_PARAMS) { gemm_256(iq2_xxs_format, RZ_MATMUL_ARGS); }

static void iq2_xxs_matmul_f32(RZ_MATMUL_PARAMS)
{
    dequantize_and_dot(rz_scalar.format[RZ_IQ2_XXS].dequantize, RZ_MATMUL_ARGS);
}

#endif
