/* Q5_0: 22 bytes per block; in four blocks, fifth bits at bytes 2, 24, 46 and 68, nibbles at 6, 28, 50 and 72. */
#ifndef REALIZAR_AVX512_Q5_0_H
#define REALIZAR_AVX512_Q5_0_H

#include "realizar/avx512/dot_f32.h"
#include "realizar/avx512/gemm_32.h"
#include "realizar/avx512/nibbles.h"
#include "realizar/blocks.h"
#include "realizar/isa_levels.h"

/* The elements are offset by 16. */
static inline __m512i q5_0_dot_4(const char *blocks, const act_4 *x)
{
    __m512i even = _mm512_loadu_si512(blocks + 2), odd = _mm512_loadu_si512(blocks + 24);
    __m512i fifth = _mm512_permutex2var_epi32(even, dword_from(0, 16 + 0, 11, 16 + 11), odd);
    __m512i packed = _mm512_permutex2var_epi32(even, quads_from(1, 16 + 1, 12, 16 + 12), odd);
    return dot_five_bits(packed, fifth, x, _mm512_sub_epi32(_mm512_setzero_si512(), _mm512_slli_epi32(x->sum, 4)));
}

static inline __m512i q5_0_scales_4(__m512i scales, int row, const char *blocks)
{
    return scales_at_start(scales, row, blocks, sizeof(rz_block_q5_0));
}

static inline __m512i q5_0_unpack_64(const char *row, size_t i)
{
    const rz_block_q5_0 *block = (const rz_block_q5_0 *)row + 2 * i;
    __m512i low = unpack_nibbles_2(block[0].qs, block[1].qs);
    return _mm512_mask_add_epi8(low, fifth_bits_2(block[0].qh, block[1].qh), low, _mm512_set1_epi8(16));
}

static const gemv_32_format q5_0_gemv_format = {
    q5_0_dot_4, q5_0_scales_4, sizeof(rz_block_q5_0), NO_MIN, HALF_SCALES, 0, 0};

RZ_GEMV(q5_0, gemv_32, q5_0_gemv_format)

static const gemm_32_format q5_0_gemm_format = {q5_0_unpack_64, sizeof(rz_block_q5_0), 4, NO_MIN, HALF_SCALES, 0, 0};

static void q5_0_gemm(RZ_MATMUL_PARAMS) { gemm_32(q5_0_gemm_format, RZ_MATMUL_ARGS); }

static void q5_0_matmul_f32(RZ_MATMUL_PARAMS)
{
    dequantize_and_dot(rz_scalar.format[RZ_Q5_0].dequantize, RZ_MATMUL_ARGS);
}

#endif
