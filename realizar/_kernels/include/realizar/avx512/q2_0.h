/* Q2_0 and PQ2_0: 18 bytes per 64 and 34 bytes per 128 elements of 2 bits. */
#ifndef REALIZAR_AVX512_Q2_0_H
#define REALIZAR_AVX512_Q2_0_H

#include "realizar/avx512/bit_pairs.h"
#include "realizar/avx512/dot_f32.h"
#include "realizar/avx512/gemm_32.h"
#include "realizar/blocks.h"
#include "realizar/isa_levels.h"

static inline __m512i q2_0_dot_4(const char *blocks, const act_4 *x)
{
    __m128i first = _mm_loadu_si128((const __m128i *)(blocks + 2));
    return dot_pairs_4(_mm256_set_m128i(_mm_loadu_si128((const __m128i *)(blocks + 20)), first), x);
}

static inline __m512i pq2_0_dot_4(const char *blocks, const act_4 *x)
{
    return dot_pairs_4(_mm256_loadu_si256((const __m256i *)(blocks + 2)), x);
}

/* PARTS: parts of 64 elements of a block; LOG: log2 of its parts of 32. */
#define RZ_BIT_PAIRS(name, NAME, PARTS, LOG)                                                                           \
    static inline __m512i name##_unpack_64(const char *row, size_t i)                                                  \
    {                                                                                                                  \
        return unpack_pairs_64(((const rz_block_##name *)row + i / PARTS)->qs + i % PARTS * 16);                       \
    }                                                                                                                  \
    static const gemv_32_format name##_gemv_format = {                                                                 \
        name##_dot_4, NULL, sizeof(rz_block_##name), NO_MIN, HALF_SCALES, LOG, 0};                                     \
    RZ_GEMV(name, gemv_32, name##_gemv_format)                                                                         \
    static const gemm_32_format name##_gemm_format = {                                                                 \
        name##_unpack_64, sizeof(rz_block_##name), 1, NO_MIN, HALF_SCALES, LOG, 0};                                    \
    static void name##_gemm(RZ_MATMUL_PARAMS) { gemm_32(name##_gemm_format, RZ_MATMUL_ARGS); }                         \
    static void name##_matmul_f32(RZ_MATMUL_PARAMS)                                                                    \
    {                                                                                                                  \
        dequantize_and_dot(rz_scalar.format[RZ_##NAME].dequantize, RZ_MATMUL_ARGS);                                    \
    }

RZ_BIT_PAIRS(q2_0, Q2_0, 1, 1)
RZ_BIT_PAIRS(pq2_0, PQ2_0, 2, 2)

#endif
