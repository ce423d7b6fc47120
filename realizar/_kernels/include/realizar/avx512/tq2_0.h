/* TQ2_0: 256 elements of 2 bits, one scale. */
#ifndef REALIZAR_AVX512_TQ2_0_H
#define REALIZAR_AVX512_TQ2_0_H

#include "realizar/avx512/dot_f32.h"
#include "realizar/avx512/no_scales.h"
#include "realizar/blocks.h"
#include "realizar/isa_levels.h"

static inline __m512i tq2_0_unpack_64(const char *row, size_t i)
{
    return unpack_bit_pairs_64(((const rz_block_tq2_0 *)row + i / 4)->qs, i % 4);
}

static inline scales_256 tq2_0_scales_256(const char *const *data) { return only_d(data, offsetof(rz_block_tq2_0, d)); }

static inline __m512i tq2_0_dot_256(const char *data, __m512i scales, const act_256 *x)
{
    (void)scales;
    __m512i dot = minus_sum(x);
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) dot = _mm512_dpbusd_epi32(dot, tq2_0_unpack_64(data, (size_t)i), act_64(x, i));
    return dot;
}

static const gemv_256_format tq2_0_gemv_format = {tq2_0_scales_256, tq2_0_dot_256, sizeof(rz_block_tq2_0), NO_MIN, 0};

RZ_GEMV(tq2_0, gemv_256, tq2_0_gemv_format)

static inline void tq2_0_unpack_256(const char *const *blocks, char *tile)
{
    unpack_256_by_64(tq2_0_unpack_64, blocks, tile);
}

static inline void tq2_0_unpack_scales(const char *const *blocks, int32_t (*scales)[16])
{
    unpack_only_d(blocks, sizeof(rz_block_tq2_0), scales);
}

static const gemm_256_format tq2_0_gemm_format = {
    tq2_0_unpack_256, tq2_0_unpack_scales, sizeof(rz_block_tq2_0), 0, 256, 1, 0, 0, NARROW, 0};

RZ_GEMM_256(tq2_0)

static void tq2_0_matmul_f32(RZ_MATMUL_PARAMS)
{
    dequantize_and_dot(rz_scalar.format[RZ_TQ2_0].dequantize, RZ_MATMUL_ARGS);
}

#endif
