/* Q5_K: 256 elements of 5 bits, eight integer scales and minima. */
#ifndef REALIZAR_AVX512_Q5_K_H
#define REALIZAR_AVX512_Q5_K_H

#include "realizar/avx512/dot_f32.h"
#include "realizar/avx512/k_scales.h"
#include "realizar/blocks.h"
#include "realizar/isa_levels.h"

/* Bit j of byte i of qh belongs to sub-block j: shifted to bit 4 of the vectors that hold two sub-blocks each. */
static inline __m512i q5_k_dot_256(const char *data, __m512i scales, const act_256 *x)
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
        __m512i packed = load_once(block->qs + 64 * half);
        q[2 * half] = _mm512_and_si512(packed, mask);
        q[2 * half + 1] = _mm512_and_si512(_mm512_srli_epi16(packed, 4), mask);
    }
    for (int i = 0; i < 4; i++) q[i] = _mm512_or_si512(q[i], _mm512_and_si512(fifths[i], bit_16));
    return dot_sub_blocks(q, scales, x);
}

/* A dword of four nibbles (the lower ones, or the upper ones) and their fifth bits: bit s of each byte of high. */
RZ_INLINE __m512i q5_k_join(__m512i packed, int upper, __m512i high, int s)
{
    __m512i nibbles = upper ? _mm512_srli_epi16(packed, 4) : packed;
    __m512i fifth = s < 4 ? _mm512_slli_epi16(high, (unsigned)(4 - s)) : _mm512_srli_epi16(high, (unsigned)(s - 4));
    nibbles = _mm512_and_si512(nibbles, _mm512_set1_epi8(15));
    return _mm512_or_si512(nibbles, _mm512_and_si512(fifth, _mm512_set1_epi8(16)));
}

/* Transposes the bytes of the file: qh and the first quarter of qs; the second and third quarter; the last quarter. */
static inline void q5_k_unpack_256(const char *const *blocks, char *tile)
{
    const size_t qh_at = offsetof(rz_block_q5_k, qh), qs_at = offsetof(rz_block_q5_k, qs);
    __m512i head[16], packed[16];
    load_transposed(blocks, qh_at, head);
#pragma GCC unroll 4
    for (int quarter = 0; quarter < 4; quarter++) {
        if (quarter == 1) load_transposed(blocks, qs_at + 32, packed);
        if (quarter == 3) load_transposed(blocks, qs_at + 64, packed);
        for (int i = 0; i < 8; i++) {
            __m512i q = quarter == 0 ? head[8 + i] : packed[quarter == 1 ? i : 8 + i];
            _mm512_store_si512(tile + 64 * (16 * quarter + i), q5_k_join(q, 0, head[i], 2 * quarter));
            _mm512_store_si512(tile + 64 * (16 * quarter + 8 + i), q5_k_join(q, 1, head[i], 2 * quarter + 1));
        }
    }
}

static inline void q5_k_unpack_scales(const char *const *blocks, int32_t (*scales)[16])
{
    k_unpack_scales(blocks, scales);
}

static const gemv_256_format q5_k_gemv_format = {k_scales_256, q5_k_dot_256, sizeof(rz_block_q5_k), HAS_MIN, 0};

RZ_GEMV(q5_k, gemv_256, q5_k_gemv_format)

static const gemm_256_format q5_k_gemm_format = {
    q5_k_unpack_256, q5_k_unpack_scales, sizeof(rz_block_q5_k), 8, 16, 16, 0, 8, NARROW, 0};

RZ_GEMM_256(q5_k)

static void q5_k_matmul_f32(RZ_MATMUL_PARAMS)
{
    dequantize_and_dot(rz_scalar.format[RZ_Q5_K].dequantize, RZ_MATMUL_ARGS);
}

#endif
