/* IQ4_NL: 18 bytes per block, laid out as Q4_0; the nibbles are indices of values offset by 128. */
#ifndef REALIZAR_AVX512_IQ4_NL_H
#define REALIZAR_AVX512_IQ4_NL_H

#include "realizar/avx512/dot_f32.h"
#include "realizar/avx512/gemm_32.h"
#include "realizar/avx512/nibbles.h"
#include "realizar/blocks.h"
#include "realizar/codebooks.h"
#include "realizar/isa_levels.h"

RZ_INLINE __m512i iq4_nl_values(void)
{
    return _mm512_broadcast_i32x4(_mm_add_epi8(_mm_setr_epi8(RZ_IQ4_VALUES), _mm_set1_epi8(-128)));
}

static inline __m512i iq4_nl_dot_4(const char *blocks, const act_4 *x)
{
    return dot_values(load_quads(blocks + 2, sizeof(rz_block_iq4_nl)), iq4_nl_values(), 7, x);
}

static inline __m512i iq4_nl_scales_4(__m512i scales, int row, const char *blocks)
{
    return scales_at_start(scales, row, blocks, sizeof(rz_block_iq4_nl));
}

static inline __m512i iq4_nl_unpack_64(const char *row, size_t i)
{
    const rz_block_iq4_nl *block = (const rz_block_iq4_nl *)row + 2 * i;
    return _mm512_shuffle_epi8(iq4_nl_values(), unpack_nibbles_2(block[0].qs, block[1].qs));
}

static const gemv_32_format iq4_nl_gemv_format = {
    iq4_nl_dot_4, iq4_nl_scales_4, sizeof(rz_block_iq4_nl), NO_MIN, HALF_SCALES, 0, 0};

RZ_GEMV(iq4_nl, gemv_32, iq4_nl_gemv_format)

static const gemm_32_format iq4_nl_gemm_format = {
    iq4_nl_unpack_64, sizeof(rz_block_iq4_nl), 7, NO_MIN, HALF_SCALES, 0, 0};

static void iq4_nl_gemm(RZ_MATMUL_PARAMS) { gemm_32(iq4_nl_gemm_format, RZ_MATMUL_ARGS); }

static void iq4_nl_matmul_f32(RZ_MATMUL_PARAMS)
{
    dequantize_and_dot(rz_scalar.format[RZ_IQ4_NL].dequantize, RZ_MATMUL_ARGS);
}

#endif
