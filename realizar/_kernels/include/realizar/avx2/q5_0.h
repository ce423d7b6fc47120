/* Q5_0: 5 bits, offset by 16. */
#ifndef REALIZAR_AVX2_Q5_0_H
#define REALIZAR_AVX2_Q5_0_H

#include "realizar/avx2/dot_f32.h"
#include "realizar/avx2/nibbles.h"
#include "realizar/avx2/product_32.h"
#include "realizar/blocks.h"
#include "realizar/isa_levels.h"

static inline __m256i q5_0_unpack_32(const char *row, size_t i)
{
    const rz_block_q5_0 *block = (const rz_block_q5_0 *)row + i;
    return _mm256_or_si256(unpack_nibbles(block->qs), fifth_bits(block->qh));
}

static const format_32 q5_0_format = {
    q5_0_unpack_32, {31, 0}, sizeof(rz_block_q5_0), 16, NO_MIN, HALF_SCALES, 0, 0, NULL};

RZ_GEMV(q5_0, gemv_32, q5_0_format)

static void q5_0_gemm(RZ_MATMUL_PARAMS) { gemm_32(q5_0_format, RZ_MATMUL_ARGS); }

static void q5_0_matmul_f32(RZ_MATMUL_PARAMS)
{
    dequantize_and_dot(rz_scalar.format[RZ_Q5_0].dequantize, RZ_MATMUL_ARGS);
}

#endif
