/* Q6_K: 6 bits (offset by 32), sixteen signed integer scales. */
#ifndef REALIZAR_AVX2_Q6_K_H
#define REALIZAR_AVX2_Q6_K_H

#include "realizar/avx2/dot_f32.h"
#include "realizar/avx2/nibbles.h"
#include "realizar/avx2/product_256.h"
#include "realizar/blocks.h"
#include "realizar/isa_levels.h"

/* A half of 128 elements: quarters 0 and 1 are the low nibbles of its 64 bytes, 2 and 3 the high ones. */
static inline __m256i q6_k_unpack_32(const char *row, size_t i)
{
    const rz_block_q6_k *block = (const rz_block_q6_k *)row + i / 8;
    size_t half = i / 4 % 2, quarter = i % 4;
    __m256i low = _mm256_loadu_si256((const __m256i *)(block->ql + 64 * half + quarter % 2 * 32));
    __m256i high = _mm256_loadu_si256((const __m256i *)(block->qh + 32 * half));
    low = _mm256_and_si256(quarter / 2 ? _mm256_srli_epi16(low, 4) : low, _mm256_set1_epi8(15));
    high = _mm256_and_si256(move_bit(high, (int)(2 * quarter), 4), _mm256_set1_epi8(0x30));
    return _mm256_or_si256(low, high);
}

static inline __m256i q6_k_scales(const char *block)
{
    return _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)((const rz_block_q6_k *)block)->scales));
}

static const format_256 q6_k_format = {
    q6_k_unpack_32, q6_k_scales, NULL, {63, 0}, sizeof(rz_block_q6_k), offsetof(rz_block_q6_k, d), 32, 16, 0};

RZ_GEMV(q6_k, gemv_256, q6_k_format)

static void q6_k_gemm(RZ_MATMUL_PARAMS) { gemm_256(q6_k_format, RZ_MATMUL_ARGS); }

static void q6_k_matmul_f32(RZ_MATMUL_PARAMS)
{
    dequantize_and_dot(rz_scalar.format[RZ_Q6_K].dequantize, RZ_MATMUL_ARGS);
}

#endif
