/* Q2_K: 256 elements of 2 bits, sixteen integer scales and minima. */
#ifndef REALIZAR_AVX512_Q2_K_H
#define REALIZAR_AVX512_Q2_K_H

#include "realizar/avx512/dot_f32.h"
#include "realizar/avx512/gemm_256.h"
#include "realizar/avx512/group_scales.h"
#include "realizar/blocks.h"
#include "realizar/isa_levels.h"

static inline scales_256 q2_k_scales_256(const char *const *data)
{
    __m512i packed = load_lanes(data, offsetof(rz_block_q2_k, scales)), mask = _mm512_set1_epi8(15);
    __m512i mins = _mm512_and_si512(_mm512_srli_epi16(packed, 4), mask);
    scales_256 s = {.scales = _mm512_and_si512(packed, mask)};
    s.mins[0] = _mm512_unpacklo_epi8(mins, _mm512_setzero_si512());
    s.mins[1] = _mm512_unpackhi_epi8(mins, _mm512_setzero_si512());
    s.d = load_halves(data, offsetof(rz_block_q2_k, d));
    s.dmin = load_halves(data, offsetof(rz_block_q2_k, dmin));
    return s;
}

static inline __m512i q2_k_dot_256(const char *data, __m512i scales, const act_256 *x)
{
    const rz_block_q2_k *block = (const rz_block_q2_k *)data;
    __m512i dot = _mm512_setzero_si512();
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        __m512i words = _mm512_maddubs_epi16(unpack_bit_pairs_64(block->qs, (size_t)i), act_64(x, i));
        dot = _mm512_dpwssd_epi32(dot, words, spread_groups(scales, 4 * i, 0));
    }
    return dot;
}

/* scale * q is at most 45, so the two bytes of a word can be multiplied as one number. */
static inline __m512i q2_k_unpack_64(const char *row, size_t i)
{
    const rz_block_q2_k *block = (const rz_block_q2_k *)row + i / 4;
    __m512i scales = _mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i *)block->scales));
    scales = spread_groups(_mm512_and_si512(scales, _mm512_set1_epi8(15)), (int)(i % 4) * 4, 0);
    return _mm512_mullo_epi16(unpack_bit_pairs_64(block->qs, i % 4), scales);
}

/* Sixteen minima, d and dmin of sixteen rows. */
static inline void q2_k_unpack_scales(const char *const *blocks, int32_t (*scales)[16])
{
    __m512i v[4];
    load_transposed_quads(blocks, offsetof(rz_block_q2_k, scales), v);
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++)
        store_pairs_u8(scales + 2 * i, _mm512_and_si512(_mm512_srli_epi16(v[i], 4), _mm512_set1_epi8(15)));
    _mm512_store_si512(scales[D_AT], gather_dwords(blocks, offsetof(rz_block_q2_k, d)));
}

static const gemv_256_format q2_k_gemv_format = {q2_k_scales_256, q2_k_dot_256, sizeof(rz_block_q2_k), HAS_MIN, 0};

RZ_GEMV(q2_k, gemv_256, q2_k_gemv_format)

static inline void q2_k_unpack_256(const char *const *blocks, char *tile)
{
    unpack_256_by_64(q2_k_unpack_64, blocks, tile);
}

static const gemm_256_format q2_k_gemm_format = {
    q2_k_unpack_256, q2_k_unpack_scales, sizeof(rz_block_q2_k), 0, 256, 0, 0, 16, NARROW, 0};

RZ_GEMM_256(q2_k)

static void q2_k_matmul_f32(RZ_MATMUL_PARAMS)
{
    dequantize_and_dot(rz_scalar.format[RZ_Q2_K].dequantize, RZ_MATMUL_ARGS);
}

#endif
