/* Q1_0: 1 bit; the elements 0 and 2, offset by 1. */
#ifndef REALIZAR_AVX2_Q1_0_H
#define REALIZAR_AVX2_Q1_0_H

#include "realizar/avx2/dot_f32.h"
#include "realizar/avx2/nibbles.h"
#include "realizar/avx2/product_32.h"
#include "realizar/blocks.h"
#include "realizar/isa_levels.h"

static inline __m256i q1_0_unpack_32(const char *row, size_t i)
{
    return spread_bits(((const rz_block_q1_0 *)row + i / 4)->qs + i % 4 * 4, 2);
}

static const format_32 q1_0_format = {
    q1_0_unpack_32, {2, 0}, sizeof(rz_block_q1_0), 1, NO_MIN, HALF_SCALES, 2, 0, NULL};

RZ_GEMV(q1_0, gemv_32, q1_0_format)

static void q1_0_gemm(RZ_MATMUL_PARAMS) { gemm_32(q1_0_format, RZ_MATMUL_ARGS); }

static void q1_0_matmul_f32(RZ_MATMUL_PARAMS)
{
    dequantize_and_dot(rz_scalar.format[RZ_Q1_0].dequantize, RZ_MATMUL_ARGS);
}

#endif
