/* TQ2_0: 2 bits, offset by 1. */
#ifndef REALIZAR_AVX2_TQ2_0_H
#define REALIZAR_AVX2_TQ2_0_H

#include "realizar/avx2/bit_pairs.h"
#include "realizar/avx2/dot_f32.h"
#include "realizar/avx2/no_scales.h"
#include "realizar/blocks.h"
#include "realizar/isa_levels.h"

static inline __m256i tq2_0_unpack_32(const char *row, size_t i)
{
    return unpack_bit_pairs(((const rz_block_tq2_0 *)row + i / 8)->qs, i % 8);
}

static const format_256 tq2_0_format = {
    tq2_0_unpack_32, scales_of_one, NULL, {3, 0}, sizeof(rz_block_tq2_0), offsetof(rz_block_tq2_0, d), 1, 32, 0};

RZ_GEMV(tq2_0, gemv_256, tq2_0_format)

static void tq2_0_gemm(RZ_MATMUL_PARAMS) { gemm_256(tq2_0_format, RZ_MATMUL_ARGS); }

static void tq2_0_matmul_f32(RZ_MATMUL_PARAMS)
{
    dequantize_and_dot(rz_scalar.format[RZ_TQ2_0].dequantize, RZ_MATMUL_ARGS);
}

#endif
