/* Q2_0: 18 bytes per 64 elements of 2 bits. */
#ifndef REALIZAR_AVX512_Q2_0_H
#define REALIZAR_AVX512_Q2_0_H

#include "realizar/avx512/bit_pairs.h"
#include "realizar/avx512/dot_f32.h"
#include "realizar/avx512/gemm_32.h"
#include "realizar/blocks.h"
#include "realizar/isa_levels.h"

static inline __m512i q2_0_dot_4(const char *blocks, const act_4 *x)
{
    __m128i first = _mm_loadu_si128((const __m128i *)(blocks + 2));
    return dot_pairs_4(_mm256_set_m128i(_mm_loadu_si128((const __m128i *)(blocks + 20)), first), x);
}

static inline __m512i q2_0_unpack_64(const char *row, size_t i)
{
    return unpack_pairs_64(((const rz_block_q2_0 *)row + i)->qs);
}

static const gemv_32_format q2_0_gemv_format = {q2_0_dot_4, NULL, sizeof(rz_block_q2_0), NO_MIN, HALF_SCALES, 1, 0};

RZ_GEMV(q2_0, gemv_32, q2_0_gemv_format)

static const gemm_32_format q2_0_gemm_format = {q2_0_unpack_64, sizeof(rz_block_q2_0), 1, NO_MIN, HALF_SCALES, 1, 0};

static void q2_0_gemm(RZ_MATMUL_PARAMS) { gemm_32(q2_0_gemm_format, RZ_MATMUL_ARGS); }

static void q2_0_matmul_f32(RZ_MATMUL_PARAMS)
{
    dequantize_and_dot(rz_scalar.format[RZ_Q2_0].dequantize, RZ_MATMUL_ARGS);
}

#endif
