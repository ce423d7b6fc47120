/* Q6_K: 256 elements of 6 bits (offset by 32), sixteen signed integer scales, no minimum. */
#ifndef REALIZAR_AVX512_Q6_K_H
#define REALIZAR_AVX512_Q6_K_H

#include "realizar/avx512/dot_f32.h"
#include "realizar/avx512/gemm_256.h"
#include "realizar/avx512/group_scales.h"
#include "realizar/blocks.h"
#include "realizar/isa_levels.h"

/* Lane r: the sixteen scales of row r. */
static inline scales_256 q6_k_scales_256(const char *const *data)
{
    return signed_scales_256(load_lanes(data, offsetof(rz_block_q6_k, scales)), data, offsetof(rz_block_q6_k, d));
}

/* Half a block (128 elements): the first 64 elements and the second 64. */
RZ_INLINE void q6_k_half(const rz_block_q6_k *block, int half, __m512i *q)
{
    const __m512i mask = _mm512_set1_epi8(15), bits_32_16 = _mm512_set1_epi8(0x30);
    const __m512i by_4_2 = _mm512_set_epi64(2, 2, 2, 2, 4, 4, 4, 4), by_0_2 = _mm512_set_epi64(2, 2, 2, 2, 0, 0, 0, 0);
    __m512i low = load_once(block->ql + 64 * half);
    __m512i high = _mm512_broadcast_i64x4(_mm256_loadu_si256((const __m256i *)(block->qh + 32 * half)));
    q[0] = _mm512_or_si512(_mm512_and_si512(low, mask), _mm512_and_si512(_mm512_sllv_epi64(high, by_4_2), bits_32_16));
    q[1] = _mm512_or_si512(_mm512_and_si512(_mm512_srli_epi16(low, 4), mask),
                           _mm512_and_si512(_mm512_srlv_epi64(high, by_0_2), bits_32_16));
}

static inline __m512i q6_k_dot_256(const char *data, __m512i scales, const act_256 *x)
{
    const rz_block_q6_k *block = (const rz_block_q6_k *)data;
    __m512i q[4], dot = _mm512_setzero_si512();
    q6_k_half(block, 0, q);
    q6_k_half(block, 1, q + 2);
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        __m512i words = _mm512_srai_epi16(spread_groups(scales, 4 * i, 1), 8);
        dot = _mm512_dpwssd_epi32(dot, _mm512_maddubs_epi16(q[i], act_64(x, i)), words);
    }
    return dot;
}

/* The upper bits of four elements: bit pair `pair` of each byte, at bit 4. */
RZ_INLINE __m512i q6_k_upper(__m512i high, int pair)
{
    __m512i at_4 = pair < 2 ? _mm512_slli_epi16(high, (unsigned)(4 - 2 * pair))
                            : _mm512_srli_epi16(high, (unsigned)(2 * pair - 4));
    return _mm512_and_si512(at_4, _mm512_set1_epi8(0x30));
}

/* Unpack after the transpose: a half of 128 elements has 64 bytes of nibbles and 32 of upper bits. */
static inline void q6_k_unpack_256(const char *const *blocks, char *tile)
{
    const __m512i mask = _mm512_set1_epi8(15);
    __m512i high[16], packed[16];
    load_transposed(blocks, offsetof(rz_block_q6_k, qh), high);
#pragma GCC unroll 2
    for (int half = 0; half < 2; half++) {
        load_transposed(blocks, offsetof(rz_block_q6_k, ql) + 64 * (size_t)half, packed);
#pragma GCC unroll 16
        for (int j = 0; j < 16; j++) {
            __m512i upper = high[8 * half + j % 8], low = _mm512_and_si512(packed[j], mask);
            __m512i top = _mm512_and_si512(_mm512_srli_epi16(packed[j], 4), mask);
            char *out = tile + 64 * (32 * half + j);
            _mm512_store_si512(out, _mm512_or_si512(low, q6_k_upper(upper, j / 8)));
            _mm512_store_si512(out + 1024, _mm512_or_si512(top, q6_k_upper(upper, 2 + j / 8)));
        }
    }
}

/* Sixteen scales, and d from the last dword of the block. */
static inline void q6_k_unpack_scales(const char *const *blocks, int32_t (*scales)[16])
{
    __m512i v[4], last = gather_dwords(blocks, sizeof(rz_block_q6_k) - sizeof(int32_t));
    load_transposed_quads(blocks, offsetof(rz_block_q6_k, scales), v);
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) store_pairs_s8(scales + 2 * i, v[i]);
    _mm512_store_si512(scales[D_AT], _mm512_srli_epi32(last, 16));
}

static const gemv_256_format q6_k_gemv_format = {q6_k_scales_256, q6_k_dot_256, sizeof(rz_block_q6_k), NO_MIN, 5};

RZ_GEMV(q6_k, gemv_256, q6_k_gemv_format)

static const gemm_256_format q6_k_gemm_format = {
    q6_k_unpack_256, q6_k_unpack_scales, sizeof(rz_block_q6_k), 16, 8, 32, 32, 0, NARROW, 0};

RZ_GEMM_256(q6_k)

static void q6_k_matmul_f32(RZ_MATMUL_PARAMS)
{
    dequantize_and_dot(rz_scalar.format[RZ_Q6_K].dequantize, RZ_MATMUL_ARGS);
}

#endif
