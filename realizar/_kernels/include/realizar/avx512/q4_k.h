/* Q4_K: 256 elements of 4 bits, eight integer scales and minima. */
#ifndef REALIZAR_AVX512_Q4_K_H
#define REALIZAR_AVX512_Q4_K_H

#include "realizar/avx512/dot_f32.h"
#include "realizar/avx512/k_scales.h"
#include "realizar/blocks.h"
#include "realizar/isa_levels.h"

static inline __m512i q4_k_dot_256(const char *data, __m512i scales, const act_256 *x)
{
    const rz_block_q4_k *block = (const rz_block_q4_k *)data;
    const __m512i mask = _mm512_set1_epi8(15);
    __m512i q[4];
    for (int half = 0; half < 2; half++) {
        __m512i packed = load_once(block->qs + 64 * half);
        q[2 * half] = _mm512_and_si512(packed, mask);
        q[2 * half + 1] = _mm512_and_si512(_mm512_srli_epi16(packed, 4), mask);
    }
    return dot_sub_blocks(q, scales, x);
}

/* Unpack nibbles after the transpose: half the data to move. */
static inline void q4_k_unpack_256(const char *const *blocks, char *tile)
{
    const __m512i mask = _mm512_set1_epi8(15);
    __m512i packed[16];
    for (size_t half = 0; half < 2; half++) {
        load_transposed(blocks, offsetof(rz_block_q4_k, qs) + 64 * half, packed);
        for (size_t j = 0; j < 16; j++) { /* two sub-blocks in the nibbles of eight dwords */
            char *low = tile + 64 * (32 * half + j / 8 * 16 + j % 8);
            _mm512_store_si512(low, _mm512_and_si512(packed[j], mask));
            _mm512_store_si512(low + 512, _mm512_and_si512(_mm512_srli_epi16(packed[j], 4), mask));
        }
    }
}

static inline void q4_k_unpack_scales(const char *const *blocks, int32_t (*scales)[16])
{
    k_unpack_scales(blocks, scales);
}

static const gemv_256_format q4_k_gemv_format = {k_scales_256, q4_k_dot_256, sizeof(rz_block_q4_k), HAS_MIN, 0};

RZ_GEMV(q4_k, gemv_256, q4_k_gemv_format)

static const gemm_256_format q4_k_gemm_format = {
    q4_k_unpack_256, q4_k_unpack_scales, sizeof(rz_block_q4_k), 8, 32, 8, 0, 8, NARROW, 0};

RZ_GEMM_256(q4_k)

static void q4_k_matmul_f32(RZ_MATMUL_PARAMS)
{
    dequantize_and_dot(rz_scalar.format[RZ_Q4_K].dequantize, RZ_MATMUL_ARGS);
}

#endif
