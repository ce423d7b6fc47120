/* Q5_1: 24 bytes per block, six dwords: d and m, the fifth bits, the nibbles. */
#ifndef REALIZAR_AVX512_Q5_1_H
#define REALIZAR_AVX512_Q5_1_H

#include "realizar/avx512/dot_f32.h"
#include "realizar/avx512/gemm_32.h"
#include "realizar/avx512/nibbles.h"
#include "realizar/blocks.h"
#include "realizar/isa_levels.h"

static inline __m512i q5_1_dot_4(const char *blocks, const act_4 *x)
{
    __m512i first = _mm512_loadu_si512(blocks), last = _mm512_loadu_si512(blocks + 32);
    __m512i fifth = _mm512_permutex2var_epi32(first, dword_from(1, 7, 13, 16 + 11), last);
    __m512i packed = _mm512_permutex2var_epi32(first, quads_from(2, 8, 16 + 6, 16 + 12), last);
    return dot_five_bits(packed, fifth, x, _mm512_setzero_si512());
}

static inline __m512i q5_1_scales_4(__m512i scales, int row, const char *blocks)
{
    return scales_at_start(scales, row, blocks, sizeof(rz_block_q5_1));
}

static inline __m512i q5_1_unpack_64(const char *row, size_t i)
{
    const rz_block_q5_1 *block = (const rz_block_q5_1 *)row + 2 * i;
    __m512i low = unpack_nibbles_2(block[0].qs, block[1].qs);
    return _mm512_mask_add_epi8(low, fifth_bits_2(block[0].qh, block[1].qh), low, _mm512_set1_epi8(16));
}

static const gemv_32_format q5_1_gemv_format = {
    q5_1_dot_4, q5_1_scales_4, sizeof(rz_block_q5_1), HAS_MIN, HALF_SCALES, 0, 0};

RZ_GEMV(q5_1, gemv_32, q5_1_gemv_format)

static const gemm_32_format q5_1_gemm_format = {q5_1_unpack_64, sizeof(rz_block_q5_1), 0, HAS_MIN, HALF_SCALES, 0, 0};

static void q5_1_gemm(RZ_MATMUL_PARAMS) { gemm_32(q5_1_gemm_format, RZ_MATMUL_ARGS); }

static void q5_1_matmul_f32(RZ_MATMUL_PARAMS)
{
    dequantize_and_dot(rz_scalar.format[RZ_Q5_1].dequantize, RZ_MATMUL_ARGS);
}

#endif
