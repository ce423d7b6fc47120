/* Q6_K: 256 elements of 6 bits that count from 32, sixteen signed integer scales, no minimum. */
#ifndef REALIZAR_AVX512_Q6_K_H
#define REALIZAR_AVX512_Q6_K_H

#include "realizar/avx512/dot_f32.h"
#include "realizar/avx512/gemm_256.h"
#include "realizar/avx512/group_scales.h"
#include "realizar/blocks.h"
#include "realizar/tiers.h"

/* Lane r: the sixteen scales of row r. */
static inline scales_256 q6_k_scales_256(const char *const *data)
{
    return signed_scales_256(load_lanes(data, offsetof(rz_block_q6_k, scales)), data, offsetof(rz_block_q6_k, d));
}

/* Half a block, 128 elements: its first and its second 64. */
RZ_INLINE void q6_k_half(const rz_block_q6_k *block, int half, __m512i *q)
{
    const __m512i mask = _mm512_set1_epi8(15), bits_32_16 = _mm512_set1_epi8(0x30);
    const __m512i by_4_2 = _mm512_set_epi64(2, 2, 2, 2, 4, 4, 4, 4), by_0_2 = _mm512_set_epi64(2, 2, 2, 2, 0, 0, 0, 0);
    __m512i low = _mm512_loadu_si512(block->ql + 64 * half);
    __m512i high = _mm512_broadcast_i64x4(_mm256_loadu_si256((const __m256i *)(block->qh + 32 * half)));
    q[0] = _mm512_or_si512(_mm512_and_si512(low, mask), _mm512_and_si512(_mm512_sllv_epi64(high, by_4_2), bits_32_16));
    q[1] = _mm512_or_si512(_mm512_and_si512(_mm512_srli_epi16(low, 4), mask),
                           _mm512_and_si512(_mm512_srlv_epi64(high, by_0_2), bits_32_16));
}

static inline __m512i q6_k_dot_256(const char *data, const scales_256 *s, int r, const act_256 *x)
{
    const rz_block_q6_k *block = (const rz_block_q6_k *)data;
    __m512i q[4], scales = broadcast_lane(s->scales, r), dot = _mm512_setzero_si512();
    q6_k_half(block, 0, q);
    q6_k_half(block, 1, q + 2);
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        __m512i words = _mm512_srai_epi16(spread_groups(scales, 4 * i, 1), 8);
        dot = _mm512_dpwssd_epi32(dot, _mm512_maddubs_epi16(q[i], x->q_s8x64[i]), words);
    }
    return dot;
}

static inline __m512i q6_k_unpack_64(const char *row, size_t i)
{
    __m512i q[2];
    q6_k_half((const rz_block_q6_k *)row + i / 4, i / 2 % 2, q);
    return q[i % 2];
}

/* Sixteen scales as words, d last. */
static inline __m512i q6_k_scale_dwords(const char *data)
{
    const rz_block_q6_k *block = (const rz_block_q6_k *)data;
    __m512i words = _mm512_zextsi256_si512(_mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)block->scales)));
    return _mm512_mask_set1_epi32(words, 1 << D_AT, block->d);
}

static void q6_k_gemv(RZ_MATMUL_PARAMS)
{
    gemv_256((gemv_256_format){q6_k_scales_256, q6_k_dot_256, sizeof(rz_block_q6_k), NO_MIN, 5}, RZ_MATMUL_ARGS);
}

static const gemm_256_format q6_k_gemm_format = {
    q6_k_unpack_64, q6_k_scale_dwords, sizeof(rz_block_q6_k), 16, 8, 32, 32, 0};

RZ_GEMM_256(q6_k)

static void q6_k_matmul_f32(RZ_MATMUL_PARAMS)
{
    dequantize_and_dot(rz_scalar.format[RZ_Q6_K].dequantize, RZ_MATMUL_ARGS);
}

#endif
