/* IQ2_XS: codewords of eight from 512, seven bits of signs for each, sixteen scales. */
#ifndef REALIZAR_AVX2_IQ2_XS_H
#define REALIZAR_AVX2_IQ2_XS_H

#include "realizar/avx2/codewords.h"
#include "realizar/avx2/dot_f32.h"
#include "realizar/isa_levels.h"

static inline __m256i iq2_xs_unpack_32(const char *row, size_t i)
{
    const rz_block_iq2_xs *block = (const rz_block_iq2_xs *)row + i / 8;
    unsigned index[4];
#pragma GCC unroll 4
    for (int j = 0; j < 4; j++) index[j] = block->qs[i % 8 * 4 + (size_t)j] & 511;
    __m256i words = _mm256_cvtepu16_epi64(_mm_loadl_epi64((const __m128i *)(block->qs + i % 8 * 4)));
    return with_signs(codewords_of_8(rz_iq2_xs_grid, index), even_sign_bytes(_mm256_srli_epi64(words, 9)), IQ2_BIAS);
}

static const format_256 iq2_xs_format = {
    iq2_xs_unpack_32, iq2_xs_scales, NULL, {2 * IQ2_BIAS, 0}, sizeof(rz_block_iq2_xs), 0, IQ2_BIAS, 16, 3};

RZ_GEMV(iq2_xs, gemv_256, iq2_xs_format)

static void iq2_xs_gemm(RZ_MATMUL_PARAMS) { gemm_256(iq2_xs_format, RZ_MATMUL_ARGS); }

static void iq2_xs_matmul_f32(RZ_MATMUL_PARAMS)
{
    dequantize_and_dot(rz_scalar.format[RZ_IQ2_XS].dequantize, RZ_MATMUL_ARGS);
}

#endif
