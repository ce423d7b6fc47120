/* Q2_0: 2 bits, offset by 1. */
#ifndef REALIZAR_AVX2_Q2_0_H
#define REALIZAR_AVX2_Q2_0_H

#include "realizar/avx2/bit_pairs.h"
#include "realizar/avx2/dot_f32.h"
#include "realizar/avx2/product_32.h"
#include "realizar/blocks.h"
#include "realizar/isa_levels.h"

static inline __m256i q2_0_unpack_by_4(const char *row, size_t i)
{
    return unpack_pairs_by_4(((const rz_block_q2_0 *)row + i / 2)->qs + i % 2 * 8);
}

static inline __m256i q2_0_unpack_32(const char *row, size_t i) { return in_order(q2_0_unpack_by_4(row, i)); }

static const format_32 q2_0_format = {q2_0_unpack_32,  {3, 0}, sizeof(rz_block_q2_0), 1, NO_MIN, HALF_SCALES, 1, 0,
                                      q2_0_unpack_by_4};

RZ_GEMV(q2_0, gemv_32, q2_0_format)

static void q2_0_gemm(RZ_MATMUL_PARAMS) { gemm_32(q2_0_format, RZ_MATMUL_ARGS); }

static void q2_0_matmul_f32(RZ_MATMUL_PARAMS)
{
    dequantize_and_dot(rz_scalar.format[RZ_Q2_0].dequantize, RZ_MATMUL_ARGS);
}

#endif
