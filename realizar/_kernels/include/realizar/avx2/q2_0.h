/* Q2_0 and PQ2_0: 2 bits, offset by 1; blocks of 64 and of 128 elements. */
#ifndef REALIZAR_AVX2_Q2_0_H
#define REALIZAR_AVX2_Q2_0_H

#include "realizar/avx2/bit_pairs.h"
#include "realizar/avx2/dot_f32.h"
#include "realizar/avx2/product_32.h"
#include "realizar/blocks.h"
#include "realizar/isa_levels.h"

/* PARTS: parts of 32 elements of a block; LOG: their log2. */
#define RZ_BIT_PAIRS(name, NAME, PARTS, LOG)                                                                           \
    static inline __m256i name##_unpack_by_4(const char *row, size_t i)                                                \
    {                                                                                                                  \
        return unpack_pairs_by_4(((const rz_block_##name *)row + i / PARTS)->qs + i % PARTS * 8);                      \
    }                                                                                                                  \
    static inline __m256i name##_unpack_32(const char *row, size_t i) { return in_order(name##_unpack_by_4(row, i)); } \
    static const format_32 name##_format = {                                                                           \
        name##_unpack_32, {3, 0}, sizeof(rz_block_##name), 1, NO_MIN, HALF_SCALES, LOG, 0, name##_unpack_by_4};        \
    RZ_GEMV(name, gemv_32, name##_format)                                                                              \
    static void name##_gemm(RZ_MATMUL_PARAMS) { gemm_32(name##_format, RZ_MATMUL_ARGS); }                              \
    static void name##_matmul_f32(RZ_MATMUL_PARAMS)                                                                    \
    {                                                                                                                  \
        dequantize_and_dot(rz_scalar.format[RZ_##NAME].dequantize, RZ_MATMUL_ARGS);                                    \
    }

RZ_BIT_PAIRS(q2_0, Q2_0, 2, 1)
RZ_BIT_PAIRS(pq2_0, PQ2_0, 4, 2)

#endif
