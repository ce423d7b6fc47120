/* MXFP4: 17 bytes per block; nibbles at bytes 1, 18, 35 and 52 of four blocks, as indices of values offset by 16. */
#ifndef REALIZAR_AVX512_MXFP4_H
#define REALIZAR_AVX512_MXFP4_H

#include "realizar/avx512/dot_f32.h"
#include "realizar/avx512/gemm_32.h"
#include "realizar/avx512/nibbles.h"
#include "realizar/blocks.h"
#include "realizar/isa_levels.h"

RZ_INLINE __m512i mxfp4_values(void)
{
    return _mm512_broadcast_i32x4(_mm_add_epi8(_mm_setr_epi8(RZ_MXFP4_VALUES), _mm_set1_epi8(16)));
}

static inline __m512i mxfp4_dot_4(const char *blocks, const act_4 *x)
{
    return dot_values(load_quads(blocks + 1, sizeof(rz_block_mxfp4)), mxfp4_values(), 4, x);
}

static inline __m512i mxfp4_scales_4(__m512i scales, int row, const char *blocks)
{
    return scales_at_start(scales, row, blocks, sizeof(rz_block_mxfp4));
}

static inline __m512i mxfp4_unpack_64(const char *row, size_t i)
{
    const rz_block_mxfp4 *block = (const rz_block_mxfp4 *)row + 2 * i;
    return _mm512_shuffle_epi8(mxfp4_values(), unpack_nibbles_2(block[0].qs, block[1].qs));
}

static const gemv_32_format mxfp4_gemv_format = {mxfp4_dot_4, mxfp4_scales_4, sizeof(rz_block_mxfp4), NO_MIN,
                                                 E8M0_SCALES};

RZ_GEMV(mxfp4, gemv_32, mxfp4_gemv_format)

static const gemm_32_format mxfp4_gemm_format = {mxfp4_unpack_64, sizeof(rz_block_mxfp4), 4, NO_MIN, E8M0_SCALES};

static void mxfp4_gemm(RZ_MATMUL_PARAMS) { gemm_32(mxfp4_gemm_format, RZ_MATMUL_ARGS); }

static void mxfp4_matmul_f32(RZ_MATMUL_PARAMS)
{
    dequantize_and_dot(rz_scalar.format[RZ_MXFP4].dequantize, RZ_MATMUL_ARGS);
}

#endif
