/* Q1_0: 18 bytes per 128 elements; the elements 0 and 2, offset by 1. */
#ifndef REALIZAR_AVX512_Q1_0_H
#define REALIZAR_AVX512_Q1_0_H

#include "realizar/avx512/dot_f32.h"
#include "realizar/avx512/gemm_32.h"
#include "realizar/avx512/gemv_32.h"
#include "realizar/blocks.h"
#include "realizar/isa_levels.h"

/* 2 for each bit that is set; v: in every lane the bits of a block, at: those bytes that have the bits of each byte. */
RZ_INLINE __m512i q1_0_elements(__m512i v, __m512i at)
{
    const __m512i bit_of_byte = _mm512_set1_epi64((long long)0x8040201008040201);
    return _mm512_maskz_set1_epi8(_mm512_test_epi8_mask(_mm512_shuffle_epi8(v, at), bit_of_byte), 2);
}

static inline __m512i q1_0_dot_4(const char *blocks, const act_4 *x)
{
    const __m512i first =
        _mm512_set_epi64(0x0d0d0d0d0d0d0d0d, 0x0c0c0c0c0c0c0c0c, 0x0909090909090909, 0x0808080808080808,
                         0x0505050505050505, 0x0404040404040404, 0x0101010101010101, 0);
    __m512i v = _mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i *)(blocks + 2)));
    __m512i low = q1_0_elements(v, first), high = q1_0_elements(v, _mm512_add_epi8(first, _mm512_set1_epi8(2)));
    __m512i start = _mm512_sub_epi32(_mm512_setzero_si512(), x->sum);
    return _mm512_dpbusd_epi32(_mm512_dpbusd_epi32(start, low, x->low), high, x->high);
}

/* The elements 1 and 3, offset by 2. */
static inline __m512i q1_0_unpack_64(const char *row, size_t i)
{
    uint64_t bits;
    memcpy(&bits, ((const rz_block_q1_0 *)row + i / 2)->qs + i % 2 * 8, sizeof bits);
    return _mm512_mask_blend_epi8(bits, _mm512_set1_epi8(1), _mm512_set1_epi8(3));
}

static const gemv_32_format q1_0_gemv_format = {q1_0_dot_4, NULL, sizeof(rz_block_q1_0), NO_MIN, HALF_SCALES, 2, 0};

RZ_GEMV(q1_0, gemv_32, q1_0_gemv_format)

static const gemm_32_format q1_0_gemm_format = {q1_0_unpack_64, sizeof(rz_block_q1_0), 1, NO_MIN, HALF_SCALES, 2, 0};

static void q1_0_gemm(RZ_MATMUL_PARAMS) { gemm_32(q1_0_gemm_format, RZ_MATMUL_ARGS); }

static void q1_0_matmul_f32(RZ_MATMUL_PARAMS)
{
    dequantize_and_dot(rz_scalar.format[RZ_Q1_0].dequantize, RZ_MATMUL_ARGS);
}

#endif
