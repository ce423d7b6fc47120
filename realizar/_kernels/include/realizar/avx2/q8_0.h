/* Q8_0: 8 bits, signed. */
#ifndef REALIZAR_AVX2_Q8_0_H
#define REALIZAR_AVX2_Q8_0_H

#include "realizar/avx2/dot_f32.h"
#include "realizar/avx2/product_32.h"
#include "realizar/blocks.h"
#include "realizar/isa_levels.h"

static inline __m256i q8_0_unpack_32(const char *row, size_t i)
{
    const rz_block_q8_0 *block = (const rz_block_q8_0 *)row + i;
    return _mm256_loadu_si256((const __m256i *)block->qs);
}

static const format_32 q8_0_format = {
    q8_0_unpack_32, {128, 1}, sizeof(rz_block_q8_0), 0, NO_MIN, HALF_SCALES, 0, 0, NULL};

RZ_GEMV(q8_0, gemv_32, q8_0_format)

static void q8_0_gemm(RZ_MATMUL_PARAMS) { gemm_32(q8_0_format, RZ_MATMUL_ARGS); }

static void q8_0_matmul_f32(RZ_MATMUL_PARAMS)
{
    dequantize_and_dot(rz_scalar.format[RZ_Q8_0].dequantize, RZ_MATMUL_ARGS);
}

#endif
