/* Q4_K: 4 bits, eight integer scales and minima. */
#ifndef REALIZAR_AVX2_Q4_K_H
#define REALIZAR_AVX2_Q4_K_H

#include "realizar/avx2/dot_f32.h"
#include "realizar/avx2/nibbles.h"
#include "realizar/avx2/product_256.h"
#include "realizar/blocks.h"
#include "realizar/isa_levels.h"

static inline __m256i q4_k_unpack_32(const char *row, size_t i)
{
    const rz_block_q4_k *block = (const rz_block_q4_k *)row + i / 8;
    return unpack_sub_block(block->qs, i % 8);
}

static inline __m256i q4_k_scales(const char *block)
{
    return k_scale_words(k_scale_bytes(((const rz_block_q4_k *)block)->scales));
}

static inline __m256i q4_k_mins(const char *block)
{
    return k_min_words(k_scale_bytes(((const rz_block_q4_k *)block)->scales));
}

static const format_256 q4_k_format = {
    q4_k_unpack_32, q4_k_scales, q4_k_mins, {15, 0}, sizeof(rz_block_q4_k), 0, 0, 32, 0};

RZ_GEMV(q4_k, gemv_256, q4_k_format)

static void q4_k_gemm(RZ_MATMUL_PARAMS) { gemm_256(q4_k_format, RZ_MATMUL_ARGS); }

static void q4_k_matmul_f32(RZ_MATMUL_PARAMS)
{
    dequantize_and_dot(rz_scalar.format[RZ_Q4_K].dequantize, RZ_MATMUL_ARGS);
}

#endif
