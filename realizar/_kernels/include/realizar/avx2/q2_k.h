/* Q2_K: 2 bits, sixteen integer scales and minima. */
#ifndef REALIZAR_AVX2_Q2_K_H
#define REALIZAR_AVX2_Q2_K_H

#include "realizar/avx2/bit_pairs.h"
#include "realizar/avx2/dot_f32.h"
#include "realizar/avx2/product_256.h"
#include "realizar/blocks.h"
#include "realizar/isa_levels.h"

static inline __m256i q2_k_unpack_32(const char *row, size_t i)
{
    return unpack_bit_pairs(((const rz_block_q2_k *)row + i / 8)->qs, i % 8);
}

/* Scale and minimum bytes of the sixteen groups as words. */
RZ_INLINE __m256i q2_k_scale_bytes(const char *block)
{
    return _mm256_cvtepu8_epi16(_mm_loadu_si128((const __m128i *)((const rz_block_q2_k *)block)->scales));
}

static inline __m256i q2_k_scales(const char *block)
{
    return _mm256_and_si256(q2_k_scale_bytes(block), _mm256_set1_epi16(15));
}

static inline __m256i q2_k_mins(const char *block) { return _mm256_srli_epi16(q2_k_scale_bytes(block), 4); }

static const format_256 q2_k_format = {
    q2_k_unpack_32, q2_k_scales, q2_k_mins, {3, 0}, sizeof(rz_block_q2_k), offsetof(rz_block_q2_k, d), 0, 16, 0};

RZ_GEMV(q2_k, gemv_256, q2_k_format)

static void q2_k_gemm(RZ_MATMUL_PARAMS) { gemm_256(q2_k_format, RZ_MATMUL_ARGS); }

static void q2_k_matmul_f32(RZ_MATMUL_PARAMS)
{
    dequantize_and_dot(rz_scalar.format[RZ_Q2_K].dequantize, RZ_MATMUL_ARGS);
}

#endif
