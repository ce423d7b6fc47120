/* Q8_0: 34 bytes per block; elements at bytes 2, 36, 70 and 104 of four blocks. */
#ifndef REALIZAR_AVX512_Q8_0_H
#define REALIZAR_AVX512_Q8_0_H

#include "realizar/avx512/dot_f32.h"
#include "realizar/avx512/gemm_32.h"
#include "realizar/avx512/nibbles.h"
#include "realizar/blocks.h"
#include "realizar/isa_levels.h"

/* vpdpbusd requires one unsigned factor, so the weights are offset by 128. */
static inline __m512i q8_0_dot_4(const char *blocks, const act_4 *x)
{
    const __m512i top = _mm512_set1_epi8(-128);
    __m512i w_01 = _mm512_castsi256_si512(_mm256_loadu_si256((const __m256i *)(blocks + 2)));
    __m512i w_23 = _mm512_castsi256_si512(_mm256_loadu_si256((const __m256i *)(blocks + 70)));
    w_01 = _mm512_xor_si512(_mm512_inserti64x4(w_01, _mm256_loadu_si256((const __m256i *)(blocks + 36)), 1), top);
    w_23 = _mm512_xor_si512(_mm512_inserti64x4(w_23, _mm256_loadu_si256((const __m256i *)(blocks + 104)), 1), top);
    __m512i sum_01 = _mm512_dpbusd_epi32(_mm512_setzero_si512(), w_01, x->blocks_01);
    __m512i sum_23 = _mm512_dpbusd_epi32(_mm512_setzero_si512(), w_23, x->blocks_23);
    __m512i sum =
        _mm512_add_epi32(_mm512_shuffle_i32x4(sum_01, sum_23, 0x88), _mm512_shuffle_i32x4(sum_01, sum_23, 0xdd));
    return _mm512_sub_epi32(sum, _mm512_slli_epi32(x->sum, 7));
}

static inline __m512i q8_0_scales_4(__m512i scales, int row, const char *blocks)
{
    return scales_at_start(scales, row, blocks, sizeof(rz_block_q8_0));
}

static inline __m512i q8_0_unpack_64(const char *row, size_t i)
{
    const rz_block_q8_0 *block = (const rz_block_q8_0 *)row + 2 * i;
    __m512i first = _mm512_castsi256_si512(_mm256_loadu_si256((const __m256i *)block[0].qs));
    __m512i both = _mm512_inserti64x4(first, _mm256_loadu_si256((const __m256i *)block[1].qs), 1);
    return _mm512_xor_si512(both, _mm512_set1_epi8(-128));
}

static const gemv_32_format q8_0_gemv_format = {
    q8_0_dot_4, q8_0_scales_4, sizeof(rz_block_q8_0), NO_MIN, HALF_SCALES, 0, 0};

RZ_GEMV(q8_0, gemv_32, q8_0_gemv_format)

static const gemm_32_format q8_0_gemm_format = {q8_0_unpack_64, sizeof(rz_block_q8_0), 7, NO_MIN, HALF_SCALES, 0, 0};

static void q8_0_gemm(RZ_MATMUL_PARAMS) { gemm_32(q8_0_gemm_format, RZ_MATMUL_ARGS); }

static void q8_0_matmul_f32(RZ_MATMUL_PARAMS)
{
    dequantize_and_dot(rz_scalar.format[RZ_Q8_0].dequantize, RZ_MATMUL_ARGS);
}

#endif
