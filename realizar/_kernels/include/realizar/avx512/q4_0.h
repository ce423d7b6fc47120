/* Q4_0: 18 bytes per block; nibbles at bytes 2, 20, 38 and 56 of four blocks. */
#ifndef REALIZAR_AVX512_Q4_0_H
#define REALIZAR_AVX512_Q4_0_H

#include "realizar/avx512/dot_f32.h"
#include "realizar/avx512/gemm_32.h"
#include "realizar/avx512/nibbles.h"
#include "realizar/blocks.h"
#include "realizar/isa_levels.h"

/* The nibbles are offset by 8. */
static inline __m512i q4_0_dot_4(const char *blocks, const act_4 *x)
{
    __m512i even = _mm512_loadu_si512(blocks + 2), odd = _mm512_loadu_si512(blocks + 8);
    __m512i packed = _mm512_permutex2var_epi32(even, quads_from(0, 16 + 3, 9, 16 + 12), odd);
    return dot_nibbles(packed, x, _mm512_sub_epi32(_mm512_setzero_si512(), _mm512_slli_epi32(x->sum, 3)));
}

static inline __m512i q4_0_scales_4(__m512i scales, int row, const char *blocks)
{
    return scales_at_start(scales, row, blocks, sizeof(rz_block_q4_0));
}

static inline __m512i q4_0_unpack_64(const char *row, size_t i)
{
    const rz_block_q4_0 *block = (const rz_block_q4_0 *)row + 2 * i;
    return unpack_nibbles_2(block[0].qs, block[1].qs);
}

static const gemv_32_format q4_0_gemv_format = {
    q4_0_dot_4, q4_0_scales_4, sizeof(rz_block_q4_0), NO_MIN, HALF_SCALES, 0, 0};

RZ_GEMV(q4_0, gemv_32, q4_0_gemv_format)

static const gemm_32_format q4_0_gemm_format = {q4_0_unpack_64, sizeof(rz_block_q4_0), 3, NO_MIN, HALF_SCALES, 0, 0};

static void q4_0_gemm(RZ_MATMUL_PARAMS) { gemm_32(q4_0_gemm_format, RZ_MATMUL_ARGS); }

static void q4_0_matmul_f32(RZ_MATMUL_PARAMS)
{
    dequantize_and_dot(rz_scalar.format[RZ_Q4_0].dequantize, RZ_MATMUL_ARGS);
}

#endif
