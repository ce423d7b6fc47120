/* Q3_K: 256 elements of 3 bits (offset by 4), sixteen signed integer scales, no minimum. */
#ifndef REALIZAR_AVX512_Q3_K_H
#define REALIZAR_AVX512_Q3_K_H

#include "realizar/avx512/dot_f32.h"
#include "realizar/avx512/gemm_256.h"
#include "realizar/avx512/group_scales.h"
#include "realizar/blocks.h"
#include "realizar/isa_levels.h"

/* Unpacks the sixteen scales of a row in each lane from its twelve packed bytes (scalar/q3_k.h), after four others. */
RZ_INLINE __m512i q3_k_scale_bytes(__m512i packed)
{
    __m512i low = _mm512_srlv_epi64(_mm512_shuffle_epi32(packed, _MM_PERM_CBCB), _mm512_set4_epi64(4, 0, 4, 0));
    __m512i high = _mm512_srlv_epi32(_mm512_shuffle_epi32(packed, _MM_PERM_DDDD), _mm512_set4_epi32(6, 4, 2, 0));
    high = _mm512_slli_epi32(_mm512_and_si512(high, _mm512_set1_epi8(3)), 4);
    return _mm512_sub_epi8(_mm512_or_si512(_mm512_and_si512(low, _mm512_set1_epi8(15)), high), _mm512_set1_epi8(32));
}

/* A load of sixteen bytes from the first scale on would read beyond the block. */
enum { Q3_K_SCALES_AT = offsetof(rz_block_q3_k, scales) - 4 };

static inline scales_256 q3_k_scales_256(const char *const *data)
{
    return signed_scales_256(q3_k_scale_bytes(load_lanes(data, Q3_K_SCALES_AT)), data, offsetof(rz_block_q3_k, d));
}

/* Elements [64 i, 64 i + 64), unsigned; their third bits are the bits 2 i and 2 i + 1 of hmask. */
RZ_INLINE __m512i q3_k_elements_64(const rz_block_q3_k *block, size_t i)
{
    __m512i third = _mm512_broadcast_i64x4(_mm256_loadu_si256((const __m256i *)block->hmask));
    const __m512i to_bit_2 = _mm512_set_epi64(-1, -1, -1, -1, -2, -2, -2, -2);
    third = _mm512_rorv_epi64(third, _mm512_add_epi64(to_bit_2, _mm512_set1_epi64((long long)(2 * i))));
    return _mm512_or_si512(unpack_bit_pairs_64(block->qs, i), _mm512_and_si512(third, _mm512_set1_epi8(4)));
}

/* The scales are in the upper bytes of words: 256 * 7 * 127 * 32 * 256 fits in 31 bits. */
static inline __m512i q3_k_dot_256(const char *data, __m512i scales, const act_256 *x)
{
    __m512i dot = _mm512_setzero_si512();
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        __m512i q = q3_k_elements_64((const rz_block_q3_k *)data, (size_t)i);
        dot = _mm512_dpwssd_epi32(dot, _mm512_maddubs_epi16(q, act_64(x, i)), spread_groups(scales, 4 * i, 1));
    }
    return _mm512_srai_epi32(dot, 8);
}

/* 124 + scale * (q - 4), which is within [0, 252]. For a negative scale it is computed as 124 + |scale| * ((7 - q) -
 * 3), so no product exceeds 32 * 7, and the two bytes of a word can be multiplied as one number. */
enum { Q3_K_CENTER = 124 };
static inline __m512i q3_k_unpack_64(const char *row, size_t i)
{
    const rz_block_q3_k *block = (const rz_block_q3_k *)row + i / 4;
    __m512i packed = _mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i *)((const char *)block + Q3_K_SCALES_AT)));
    __m512i words = spread_groups(q3_k_scale_bytes(packed), (int)(i % 4) * 4, 0);
    __m512i scale = _mm512_or_si512(words, _mm512_slli_epi16(words, 8)), size = _mm512_abs_epi8(scale);
    __mmask64 negative = _mm512_movepi8_mask(scale);
    __m512i q = q3_k_elements_64(block, i % 4);
    q = _mm512_mask_sub_epi8(q, negative, _mm512_set1_epi8(7), q);
    __m512i rest = _mm512_sub_epi8(_mm512_set1_epi8(Q3_K_CENTER), _mm512_slli_epi16(size, 2));
    rest = _mm512_mask_add_epi8(rest, negative, rest, size);
    return _mm512_add_epi8(_mm512_mullo_epi16(q, _mm512_and_si512(size, _mm512_set1_epi16(0xff))), rest);
}

/* d, from the last dword of the block. */
static inline void q3_k_unpack_scales(const char *const *blocks, int32_t (*scales)[16])
{
    __m512i last = gather_dwords(blocks, sizeof(rz_block_q3_k) - sizeof(int32_t));
    _mm512_store_si512(scales[D_AT], _mm512_srli_epi32(last, 16));
}

static const gemv_256_format q3_k_gemv_format = {q3_k_scales_256, q3_k_dot_256, sizeof(rz_block_q3_k), NO_MIN, 2};

RZ_GEMV(q3_k, gemv_256, q3_k_gemv_format)

static inline void q3_k_unpack_256(const char *const *blocks, char *tile)
{
    unpack_256_by_64(q3_k_unpack_64, blocks, tile);
}

static const gemm_256_format q3_k_gemm_format = {
    q3_k_unpack_256, q3_k_unpack_scales, sizeof(rz_block_q3_k), 0, 256, Q3_K_CENTER, 0, 0, NARROW, 0};

RZ_GEMM_256(q3_k)

static void q3_k_matmul_f32(RZ_MATMUL_PARAMS)
{
    dequantize_and_dot(rz_scalar.format[RZ_Q3_K].dequantize, RZ_MATMUL_ARGS);
}

#endif
