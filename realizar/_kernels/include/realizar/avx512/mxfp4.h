/* MXFP4: 17 bytes per block; nibbles at bytes 1, 18, 35 and 52 of four blocks, as indices of values offset by 16. */
#ifndef REALIZAR_AVX512_MXFP4_H
#define REALIZAR_AVX512_MXFP4_H

#include "realizar/avx512/dot_f32.h"
#include "realizar/avx512/gemm_32.h"
#include "realizar/avx512/nibbles.h"
#include "realizar/blocks.h"
#include "realizar/isa_levels.h"

RZ_INLINE __m512i mxfp4_of_nibbles(__m512i nibbles)
{
    const __m128i values = _mm_add_epi8(_mm_setr_epi8(RZ_MXFP4_VALUES), _mm_set1_epi8(16));
    return _mm512_shuffle_epi8(_mm512_broadcast_i32x4(values), nibbles);
}

static inline __m512i mxfp4_dot_4(const char *blocks, const act_4 *x)
{
    const __m512i mask = _mm512_set1_epi8(15);
    __m512i packed = _mm512_castsi128_si512(_mm_loadu_si128((const __m128i *)(blocks + 1)));
#pragma GCC unroll 3
    for (int b = 1; b < 4; b++)
        packed = _mm512_mask_broadcast_i32x4(packed, (__mmask16)(0xf << 4 * b),
                                             _mm_loadu_si128((const __m128i *)(blocks + 17 * b + 1)));
    __m512i low = mxfp4_of_nibbles(_mm512_and_si512(packed, mask));
    __m512i high = mxfp4_of_nibbles(_mm512_and_si512(_mm512_srli_epi16(packed, 4), mask));
    __m512i start = _mm512_sub_epi32(_mm512_setzero_si512(), _mm512_slli_epi32(x->sum, 4));
    return _mm512_dpbusd_epi32(_mm512_dpbusd_epi32(start, low, x->low), high, x->high);
}

static inline __m512i mxfp4_scales_4(__m512i scales, int row, const char *blocks)
{
    return scales_at_start(scales, row, blocks, sizeof(rz_block_mxfp4));
}

static inline __m512i mxfp4_unpack_64(const char *row, size_t i)
{
    const rz_block_mxfp4 *block = (const rz_block_mxfp4 *)row + 2 * i;
    return mxfp4_of_nibbles(unpack_nibbles_2(block[0].qs, block[1].qs));
}

static const gemv_32_format mxfp4_gemv_format = {
    mxfp4_dot_4, mxfp4_scales_4, sizeof(rz_block_mxfp4), NO_MIN, E8M0_SCALES, 0, 0};

RZ_GEMV(mxfp4, gemv_32, mxfp4_gemv_format)

static const gemm_32_format mxfp4_gemm_format = {mxfp4_unpack_64, sizeof(rz_block_mxfp4), 4, NO_MIN, E8M0_SCALES, 0, 0};

static void mxfp4_gemm(RZ_MATMUL_PARAMS) { gemm_32(mxfp4_gemm_format, RZ_MATMUL_ARGS); }

static void mxfp4_matmul_f32(RZ_MATMUL_PARAMS)
{
    dequantize_and_dot(rz_scalar.format[RZ_MXFP4].dequantize, RZ_MATMUL_ARGS);
}

#endif
