/* PQ2_0: 34 bytes per 128 elements of 2 bits. */
#ifndef REALIZAR_AVX512_PQ2_0_H
#define REALIZAR_AVX512_PQ2_0_H

#include "realizar/avx512/bit_pairs.h"
#include "realizar/avx512/dot_f32.h"
#include "realizar/avx512/gemm_32.h"
#include "realizar/blocks.h"
#include "realizar/isa_levels.h"

static inline __m512i pq2_0_dot_4(const char *blocks, const act_4 *x)
{
    return dot_pairs_4(_mm256_loadu_si256((const __m256i *)(blocks + 2)), x);
}

static inline __m512i pq2_0_unpack_64(const char *row, size_t i)
{
    return unpack_pairs_64(((const rz_block_pq2_0 *)row + i / 2)->qs + i % 2 * 16);
}

static const gemv_32_format pq2_0_gemv_format = {pq2_0_dot_4, NULL, sizeof(rz_block_pq2_0), NO_MIN, HALF_SCALES, 2, 0};

RZ_GEMV(pq2_0, gemv_32, pq2_0_gemv_format)

static const gemm_32_format pq2_0_gemm_format = {pq2_0_unpack_64, sizeof(rz_block_pq2_0), 1, NO_MIN, HALF_SCALES, 2, 0};

static void pq2_0_gemm(RZ_MATMUL_PARAMS) { gemm_32(pq2_0_gemm_format, RZ_MATMUL_ARGS); }

static void pq2_0_matmul_f32(RZ_MATMUL_PARAMS)
{
    dequantize_and_dot(rz_scalar.format[RZ_PQ2_0].dequantize, RZ_MATMUL_ARGS);
}

#endif
