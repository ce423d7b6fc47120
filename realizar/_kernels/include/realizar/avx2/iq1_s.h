/* IQ1_S: codewords of eight from 2048, a delta and a scale for 32 elements. */
#ifndef REALIZAR_AVX2_IQ1_S_H
#define REALIZAR_AVX2_IQ1_S_H

#include "realizar/avx2/codewords.h"
#include "realizar/avx2/dot_f32.h"
#include "realizar/isa_levels.h"

static inline __m256i iq1_s_unpack_32(const char *row, size_t i)
{
    const rz_block_iq1_s *block = (const rz_block_iq1_s *)row + i / 8;
    unsigned index[4], high = block->qh[i % 8];
#pragma GCC unroll 4
    for (int j = 0; j < 4; j++) index[j] = block->qs[i % 8 * 4 + (size_t)j] | (high >> 3 * j & 7) << 8;
    return with_deltas(index, _mm256_set1_epi8(high >> 15 ? -1 : 1));
}

static const format_256 iq1_s_format = {
    iq1_s_unpack_32, iq1_s_scales, NULL, {2 * IQ1_BIAS, 0}, sizeof(rz_block_iq1_s), 0, IQ1_BIAS, 32, 3};

RZ_GEMV(iq1_s, gemv_256, iq1_s_format)

static void iq1_s_gemm(RZ_MATMUL_PARAMS) { gemm_256(iq1_s_format, RZ_MATMUL_ARGS); }

static void iq1_s_matmul_f32(RZ_MATMUL_PARAMS)
{
    dequantize_and_dot(rz_scalar.format[RZ_IQ1_S].dequantize, RZ_MATMUL_ARGS);
}

#endif
