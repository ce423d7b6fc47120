/* Q5_K: 5 bits, eight integer scales and minima. */
#ifndef REALIZAR_AVX2_Q5_K_H
#define REALIZAR_AVX2_Q5_K_H

#include "realizar/avx2/dot_f32.h"
#include "realizar/avx2/nibbles.h"
#include "realizar/avx2/product_256.h"
#include "realizar/blocks.h"
#include "realizar/isa_levels.h"

/* Bit j of byte b of qh is the fifth bit of element b of sub-block j. */
static inline __m256i q5_k_unpack_32(const char *row, size_t i)
{
    const rz_block_q5_k *block = (const rz_block_q5_k *)row + i / 8;
    __m256i fifth = _mm256_loadu_si256((const __m256i *)block->qh);
    fifth = _mm256_and_si256(move_bit(fifth, (int)(i % 8), 4), _mm256_set1_epi8(16));
    return _mm256_or_si256(unpack_sub_block(block->qs, i % 8), fifth);
}

static inline __m256i q5_k_scales(const char *block)
{
    return k_scale_words(k_scale_bytes(((const rz_block_q5_k *)block)->scales));
}

static inline __m256i q5_k_mins(const char *block)
{
    return k_min_words(k_scale_bytes(((const rz_block_q5_k *)block)->scales));
}

static const format_256 q5_k_format = {
    q5_k_unpack_32, q5_k_scales, q5_k_mins, {31, 0}, sizeof(rz_block_q5_k), 0, 0, 32, 0};

RZ_GEMV(q5_k, gemv_256, q5_k_format)

static void q5_k_gemm(RZ_MATMUL_PARAMS) { gemm_256(q5_k_format, RZ_MATMUL_ARGS); }

static void q5_k_matmul_f32(RZ_MATMUL_PARAMS)
{
    dequantize_and_dot(rz_scalar.format[RZ_Q5_K].dequantize, RZ_MATMUL_ARGS);
}

#endif
