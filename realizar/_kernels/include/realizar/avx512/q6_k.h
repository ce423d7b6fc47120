/* Q6_K: 256 elements of 6 bits that count from 32, sixteen signed integer scales, no minimum. */
#ifndef REALIZAR_AVX512_Q6_K_H
#define REALIZAR_AVX512_Q6_K_H

#include "realizar/avx512/dot_f32.h"
#include "realizar/avx512/gemm_256.h"
#include "realizar/avx512/gemv_256.h"
#include "realizar/blocks.h"
#include "realizar/tiers.h"

/* Lane r: the sixteen scales of row r. */
static inline scales_256 q6_k_scales_256(const char *const *data)
{
    scales_256 s = {.scales = _mm512_setzero_si512(), .mins = _mm512_setzero_si512(), .dmin = _mm_setzero_ps()};
    uint64_t d = 0;
    for (int r = 0; r < 4; r++) {
        const rz_block_q6_k *block = (const rz_block_q6_k *)data[r];
        s.scales = _mm512_mask_broadcast_i32x4(s.scales, (__mmask16)(0xf << 4 * r),
                                               _mm_loadu_si128((const __m128i *)block->scales));
        d |= (uint64_t)block->d << 16 * r;
    }
    s.d = _mm_cvtph_ps(_mm_cvtsi64_si128((long long)d));
    return s;
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

/* Words of byte first + i of each lane i, with their sign. */
RZ_INLINE __m512i q6_k_spread(__m512i scales, int first)
{
    const __m512i lane = _mm512_set_epi64(0x0300030003000300, 0x0300030003000300, 0x0200020002000200,
                                          0x0200020002000200, 0x0100010001000100, 0x0100010001000100, 0, 0);
    const __m512i upper = _mm512_set1_epi16((short)0x0080);
    __m512i at = _mm512_or_si512(_mm512_add_epi16(lane, _mm512_set1_epi16((short)(first << 8))), upper);
    return _mm512_srai_epi16(_mm512_shuffle_epi8(scales, at), 8);
}

/* The sum over q counted from 0, less 32 times the sum over the groups of scale * (sum of x). */
static inline __m512i q6_k_dot_256(const char *data, const scales_256 *s, int r, const act_256 *x)
{
    const rz_block_q6_k *block = (const rz_block_q6_k *)data;
    __m512i q[4], scales = broadcast_lane(s->scales, r);
    q6_k_half(block, 0, q);
    q6_k_half(block, 1, q + 2);
    __m256i offset = _mm256_madd_epi16(_mm256_cvtepi8_epi16(_mm512_castsi512_si128(scales)), x->sums);
    __m512i dot = _mm512_sub_epi32(_mm512_setzero_si512(), _mm512_zextsi256_si512(_mm256_slli_epi32(offset, 5)));
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++)
        dot = _mm512_dpwssd_epi32(dot, _mm512_maddubs_epi16(q[i], x->q_s8x64[i]), q6_k_spread(scales, 4 * i));
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
    gemv_256((gemv_256_format){q6_k_scales_256, q6_k_dot_256, sizeof(rz_block_q6_k), NO_MIN}, RZ_MATMUL_ARGS);
}

static const gemm_256_format q6_k_gemm_format = {q6_k_unpack_64, q6_k_scale_dwords, sizeof(rz_block_q6_k), 16, 16, 0, 5,
                                                 NO_MIN};

static void q6_k_gemm(RZ_MATMUL_PARAMS) { gemm_256(q6_k_gemm_format, RZ_MATMUL_ARGS); }

static void q6_k_matmul_f32(RZ_MATMUL_PARAMS)
{
    dequantize_and_dot(rz_scalar.format[RZ_Q6_K].dequantize, RZ_MATMUL_ARGS);
}

#endif
