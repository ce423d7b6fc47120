/* Q4_K: 256 elements of 4 bits, eight integer scales and minima. */
#ifndef REALIZAR_AVX512_Q4_K_H
#define REALIZAR_AVX512_Q4_K_H

#include "realizar/avx512/dot_f32.h"
#include "realizar/avx512/k_scales.h"
#include "realizar/blocks.h"
#include "realizar/tiers.h"

static inline __m512i q4_k_dot_256(const char *data, const scales_256 *s, int r, const act_256 *x)
{
    const rz_block_q4_k *block = (const rz_block_q4_k *)data;
    const __m512i mask = _mm512_set1_epi8(15);
    __m512i q[4];
    for (int half = 0; half < 2; half++) {
        __m512i packed = _mm512_loadu_si512(block->qs + 64 * half);
        q[2 * half] = _mm512_and_si512(packed, mask);
        q[2 * half + 1] = _mm512_and_si512(_mm512_srli_epi16(packed, 4), mask);
    }
    return dot_sub_blocks(q, s, r, x);
}

static inline __m512i q4_k_unpack_64(const char *row, size_t i)
{
    const rz_block_q4_k *block = (const rz_block_q4_k *)row + i / 4;
    return unpack_nibbles_64(block->qs + i % 4 * 32);
}

static inline __m512i q4_k_scale_dwords(const char *block) { return k_scale_dwords(block); }

static void q4_k_gemv(RZ_MATMUL_PARAMS)
{
    gemv_256((gemv_256_format){k_scales_256, q4_k_dot_256, sizeof(rz_block_q4_k), HAS_MIN, 0}, RZ_MATMUL_ARGS);
}

static const gemm_256_format q4_k_gemm_format = {
    q4_k_unpack_64, q4_k_scale_dwords, sizeof(rz_block_q4_k), 8, 32, 8, 0, 8};

RZ_GEMM_256(q4_k)

static void q4_k_matmul_f32(RZ_MATMUL_PARAMS)
{
    dequantize_and_dot(rz_scalar.format[RZ_Q4_K].dequantize, RZ_MATMUL_ARGS);
}

#endif
