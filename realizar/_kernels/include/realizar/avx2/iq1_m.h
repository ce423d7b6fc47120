/* IQ1_M: codewords of eight from 2048, a delta for each, sixteen scales; d is in the upper bits of these. */
#ifndef REALIZAR_AVX2_IQ1_M_H
#define REALIZAR_AVX2_IQ1_M_H

#include "realizar/avx2/codewords.h"
#include "realizar/avx2/dot_f32.h"
#include "realizar/isa_levels.h"

static inline __m256i iq1_m_unpack_32(const char *row, size_t i)
{
    const rz_block_iq1_m *block = (const rz_block_iq1_m *)row + i / 8;
    unsigned index[4], high = block->qh[i % 8 * 2] | (unsigned)block->qh[i % 8 * 2 + 1] << 8;
#pragma GCC unroll 4
    for (int j = 0; j < 4; j++) index[j] = block->qs[i % 8 * 4 + (size_t)j] | (high >> 4 * j & 7) << 8;
    __m256i deltas = _mm256_sllv_epi64(_mm256_set1_epi64x(high), _mm256_setr_epi64x(60, 56, 52, 48));
    deltas = _mm256_cmpgt_epi64(_mm256_setzero_si256(), deltas);
    return with_deltas(index, _mm256_or_si256(deltas, _mm256_set1_epi8(1)));
}

static const format_256 iq1_m_format = {
    iq1_m_unpack_32, iq1_m_scales, NULL, {2 * IQ1_BIAS, 0}, sizeof(rz_block_iq1_m), D_IN_NIBBLES, IQ1_BIAS, 16, 3};

RZ_GEMV(iq1_m, gemv_256, iq1_m_format)

static void iq1_m_gemm(RZ_MATMUL_PARAMS) { gemm_256(iq1_m_format, RZ_MATMUL_ARGS); }

static void iq1_m_matmul_f32(RZ_MATMUL_PARAMS)
{
    dequantize_and_dot(rz_scalar.format[RZ_IQ1_M].dequantize, RZ_MATMUL_ARGS);
}

#endif
