/* The 256-element formats without scales of groups, TQ1_0 and TQ2_0: their elements are offset by 1, d is at the end. */
#ifndef REALIZAR_AVX512_NO_SCALES_H
#define REALIZAR_AVX512_NO_SCALES_H

#include "realizar/avx512/dot_f32.h"
#include "realizar/avx512/gemm_256.h"
#include "realizar/avx512/group_scales.h"

/* Minus the sum of the elements of a token, as sixteen partial sums. */
RZ_INLINE __m512i minus_sum(const act_256 *x)
{
    __m512i sums = _mm512_zextsi256_si512(_mm256_loadu_si256((const __m256i *)x->sums));
    return _mm512_madd_epi16(sums, _mm512_set1_epi16(-1));
}

/* d of four rows. */
RZ_INLINE scales_256 only_d(const char *const *blocks, size_t d_at)
{
    return (scales_256){.d = load_halves(blocks, d_at), .dmin = _mm_setzero_ps()};
}

/* d of sixteen rows, from the last dword of the block. */
RZ_INLINE void unpack_only_d(const char *const *blocks, size_t block_bytes, int32_t (*scales)[16])
{
    __m512i last = gather_dwords(blocks, block_bytes - sizeof(int32_t));
    _mm512_store_si512(scales[D_AT], _mm512_srli_epi32(last, 16));
}

/* The functions of a format by NAME_unpack_64. */
#define RZ_NO_SCALES(name, index)                                                                                      \
    static inline scales_256 name##_scales_256(const char *const *blocks)                                              \
    {                                                                                                                  \
        return only_d(blocks, offsetof(rz_block_##name, d));                                                           \
    }                                                                                                                  \
    static inline __m512i name##_dot_256(const char *block, __m512i unused, const act_256 *x)                          \
    {                                                                                                                  \
        __m512i dot = minus_sum(x);                                                                                    \
        (void)unused;                                                                                                  \
        _Pragma("GCC unroll 4") for (int i = 0; i < 4; i++)                                                            \
        {                                                                                                              \
            dot = _mm512_dpbusd_epi32(dot, name##_unpack_64(block, (size_t)i), act_64(x, i));                          \
        }                                                                                                              \
        return dot;                                                                                                    \
    }                                                                                                                  \
    static const gemv_256_format name##_gemv_format = {name##_scales_256, name##_dot_256, sizeof(rz_block_##name),     \
                                                       NO_MIN, 0};                                                     \
    RZ_GEMV(name, gemv_256, name##_gemv_format)                                                                        \
    static inline void name##_unpack_256(const char *const *blocks, char *tile)                                        \
    {                                                                                                                  \
        unpack_256_by_64(name##_unpack_64, blocks, tile);                                                              \
    }                                                                                                                  \
    static inline void name##_unpack_scales(const char *const *blocks, int32_t (*scales)[16])                          \
    {                                                                                                                  \
        unpack_only_d(blocks, sizeof(rz_block_##name), scales);                                                        \
    }                                                                                                                  \
    static const gemm_256_format name##_gemm_format = {                                                                \
        name##_unpack_256, name##_unpack_scales, sizeof(rz_block_##name), 0, 256, 1, 0, 0, NARROW, 0};                 \
    RZ_GEMM_256(name)                                                                                                  \
    static void name##_matmul_f32(RZ_MATMUL_PARAMS)                                                                    \
    {                                                                                                                  \
        dequantize_and_dot(rz_scalar.format[index].dequantize, RZ_MATMUL_ARGS);                                        \
    }

#endif
