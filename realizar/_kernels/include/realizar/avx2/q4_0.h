/* Q4_0: 4 bits, offset by 8. */
#ifndef REALIZAR_AVX2_Q4_0_H
#define REALIZAR_AVX2_Q4_0_H

#include "realizar/avx2/dot_f32.h"
#include "realizar/avx2/nibbles.h"
#include "realizar/avx2/product_32.h"
#include "realizar/blocks.h"
#include "realizar/isa_levels.h"

static inline __m256i q4_0_unpack_32(const char *row, size_t i)
{
    const rz_block_q4_0 *block = (const rz_block_q4_0 *)row + i;
    return unpack_nibbles(block->qs);
}

static const format_32 q4_0_format = {
    q4_0_unpack_32, {15, 0}, sizeof(rz_block_q4_0), 8, NO_MIN, HALF_SCALES, 0, 0, NULL};

RZ_GEMV(q4_0, gemv_32, q4_0_format)

static void q4_0_gemm(RZ_MATMUL_PARAMS) { gemm_32(q4_0_format, RZ_MATMUL_ARGS); }

static void q4_0_matmul_f32(RZ_MATMUL_PARAMS)
{
    dequantize_and_dot(rz_scalar.format[RZ_Q4_0].dequantize, RZ_MATMUL_ARGS);
}

#endif
