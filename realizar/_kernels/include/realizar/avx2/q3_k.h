/* Q3_K: 3 bits (offset by 4), sixteen signed integer scales. */
#ifndef REALIZAR_AVX2_Q3_K_H
#define REALIZAR_AVX2_Q3_K_H

#include "realizar/avx2/bit_pairs.h"
#include "realizar/avx2/dot_f32.h"
#include "realizar/avx2/nibbles.h"
#include "realizar/avx2/product_256.h"
#include "realizar/blocks.h"
#include "realizar/isa_levels.h"

static inline __m256i q3_k_unpack_32(const char *row, size_t i)
{
    const rz_block_q3_k *block = (const rz_block_q3_k *)row + i / 8;
    __m256i third = _mm256_loadu_si256((const __m256i *)block->hmask);
    third = _mm256_and_si256(move_bit(third, (int)(i % 8), 2), _mm256_set1_epi8(4));
    return _mm256_or_si256(unpack_bit_pairs(block->qs, i % 8), third);
}

/* Words of the sixteen scales. */
static inline __m256i q3_k_scales(const char *block)
{
    return _mm256_cvtepi8_epi16(q3_k_scale_bytes(((const rz_block_q3_k *)block)->scales));
}

static const format_256 q3_k_format = {
    q3_k_unpack_32, q3_k_scales, NULL, {7, 0}, sizeof(rz_block_q3_k), offsetof(rz_block_q3_k, d), 4, 16, 0};

RZ_GEMV(q3_k, gemv_256, q3_k_format)

static void q3_k_gemm(RZ_MATMUL_PARAMS) { gemm_256(q3_k_format, RZ_MATMUL_ARGS); }

static void q3_k_matmul_f32(RZ_MATMUL_PARAMS)
{
    dequantize_and_dot(rz_scalar.format[RZ_Q3_K].dequantize, RZ_MATMUL_ARGS);
}

#endif
