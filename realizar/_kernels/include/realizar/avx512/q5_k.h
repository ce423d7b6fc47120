/* Q5_K: 256 elements of 5 bits, eight integer scales and minima. */
#ifndef REALIZAR_AVX512_Q5_K_H
#define REALIZAR_AVX512_Q5_K_H

#include "realizar/avx512/dot_f32.h"
#include "realizar/avx512/k_scales.h"
#include "realizar/blocks.h"
#include "realizar/tiers.h"

/* Bit j of byte i of qh belongs to sub-block j: shifted to bit 4 of the vectors that hold two sub-blocks each. */
static inline __m512i q5_k_dot_256(const char *data, const scales_256 *s, int r, const act_256 *x)
{
    const rz_block_q5_k *block = (const rz_block_q5_k *)data;
    const __m512i mask = _mm512_set1_epi8(15), bit_16 = _mm512_set1_epi8(16);
    const __m512i left_0_2 = _mm512_set_epi64(2, 2, 2, 2, 4, 4, 4, 4),
                  right_4_6 = _mm512_set_epi64(2, 2, 2, 2, 0, 0, 0, 0);
    __m512i fifth = _mm512_broadcast_i64x4(_mm256_loadu_si256((const __m256i *)block->qh)), q[4];
    __m512i fifths[4] = {
        _mm512_sllv_epi64(fifth, left_0_2),
        _mm512_sllv_epi64(_mm512_srli_epi64(fifth, 1), left_0_2),
        _mm512_srlv_epi64(fifth, right_4_6),
        _mm512_srlv_epi64(_mm512_srli_epi64(fifth, 1), right_4_6),
    };
    for (int half = 0; half < 2; half++) {
        __m512i packed = _mm512_loadu_si512(block->qs + 64 * half);
        q[2 * half] = _mm512_and_si512(packed, mask);
        q[2 * half + 1] = _mm512_and_si512(_mm512_srli_epi16(packed, 4), mask);
    }
    for (int i = 0; i < 4; i++) q[i] = _mm512_or_si512(q[i], _mm512_and_si512(fifths[i], bit_16));
    return dot_sub_blocks(q, s, r, x);
}

static inline __m512i q5_k_unpack_64(const char *row, size_t i)
{
    const rz_block_q5_k *block = (const rz_block_q5_k *)row + i / 4;
    __m512i low = unpack_nibbles_64(block->qs + i % 4 * 32);
    __m512i fifth = _mm512_broadcast_i64x4(_mm256_loadu_si256((const __m256i *)block->qh));
    fifth = _mm512_srlv_epi64(fifth, _mm512_set1_epi64((long long)(2 * (i % 4))));
    fifth = _mm512_sllv_epi64(fifth, _mm512_set_epi64(3, 3, 3, 3, 4, 4, 4, 4));
    return _mm512_or_si512(low, _mm512_and_si512(fifth, _mm512_set1_epi8(16)));
}

static inline __m512i q5_k_scale_dwords(const char *block) { return k_scale_dwords(block); }

static void q5_k_gemv(RZ_MATMUL_PARAMS)
{
    gemv_256((gemv_256_format){k_scales_256, q5_k_dot_256, sizeof(rz_block_q5_k), HAS_MIN, 0}, RZ_MATMUL_ARGS);
}

static const gemm_256_format q5_k_gemm_format = {
    q5_k_unpack_64, q5_k_scale_dwords, sizeof(rz_block_q5_k), 8, 16, 16, 0, 8};

RZ_GEMM_256(q5_k)

static void q5_k_matmul_f32(RZ_MATMUL_PARAMS)
{
    dequantize_and_dot(rz_scalar.format[RZ_Q5_K].dequantize, RZ_MATMUL_ARGS);
}

#endif
