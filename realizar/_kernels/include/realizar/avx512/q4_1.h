/* Q4_1: 20 bytes per block, five dwords: d and m, then the nibbles. */
#ifndef REALIZAR_AVX512_Q4_1_H
#define REALIZAR_AVX512_Q4_1_H

#include "realizar/avx512/dot_f32.h"
#include "realizar/avx512/gemm_32.h"
#include "realizar/avx512/nibbles.h"
#include "realizar/blocks.h"
#include "realizar/isa_levels.h"

static inline __m512i q4_1_dot_4(const char *blocks, const act_4 *x)
{
    __m512i first = _mm512_loadu_si512(blocks), last = _mm512_loadu_si512(blocks + 16);
    __m512i packed = _mm512_permutex2var_epi32(first, quads_from(1, 6, 11, 16 + 12), last);
    return dot_nibbles(packed, x, _mm512_setzero_si512());
}

static inline __m512i q4_1_scales_4(__m512i scales, int row, const char *blocks)
{
    __m512i dwords = _mm512_loadu_si512(blocks);
    return _mm512_mask_permutexvar_epi32(scales, (__mmask16)(0x1111 << row), dword_from(0, 5, 10, 15), dwords);
}

static inline __m512i q4_1_unpack_64(const char *row, size_t i)
{
    const rz_block_q4_1 *block = (const rz_block_q4_1 *)row + 2 * i;
    return unpack_nibbles_2(block[0].qs, block[1].qs);
}

static const gemv_32_format q4_1_gemv_format = {
    q4_1_dot_4, q4_1_scales_4, sizeof(rz_block_q4_1), HAS_MIN, HALF_SCALES, 0, 0};

RZ_GEMV(q4_1, gemv_32, q4_1_gemv_format)

static const gemm_32_format q4_1_gemm_format = {q4_1_unpack_64, sizeof(rz_block_q4_1), 0, HAS_MIN, HALF_SCALES, 0, 0};

static void q4_1_gemm(RZ_MATMUL_PARAMS) { gemm_32(q4_1_gemm_format, RZ_MATMUL_ARGS); }

static void q4_1_matmul_f32(RZ_MATMUL_PARAMS)
{
    dequantize_and_dot(rz_scalar.format[RZ_Q4_1].dequantize, RZ_MATMUL_ARGS);
}

#endif
