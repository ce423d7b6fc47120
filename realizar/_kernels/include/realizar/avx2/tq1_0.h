/* TQ1_0: base-3 digits, offset by 1. */
#ifndef REALIZAR_AVX2_TQ1_0_H
#define REALIZAR_AVX2_TQ1_0_H

#include "realizar/avx2/dot_f32.h"
#include "realizar/avx2/no_scales.h"
#include "realizar/avx2/trits.h"
#include "realizar/blocks.h"
#include "realizar/isa_levels.h"

static inline __m256i tq1_0_unpack_32(const char *row, size_t i)
{
    static const int16_t powers[8][16] = {
        {RZ_POWERS(1, 1, 1, 1)},     {RZ_POWERS(3, 3, 3, 3)},
        {RZ_POWERS(9, 9, 9, 9)},     {RZ_POWERS(27, 27, 27, 27)},
        {RZ_POWERS(81, 81, 81, 81)}, {RZ_POWERS(1, 1, 3, 3)},
        {RZ_POWERS(9, 9, 27, 27)},   {81, 81, 81, 81, 81, 81, 81, 81, 1, 1, 3, 3, 9, 9, 27, 27}};
    const rz_block_tq1_0 *block = (const rz_block_tq1_0 *)row + i / 8;
    const size_t part = i % 8;
    __m128i run = _mm_loadu_si128((const __m128i *)(block->qs + 32));
    __m256i bytes = part < 5    ? _mm256_loadu_si256((const __m256i *)block->qs)
                    : part == 7 ? _mm256_set_m128i(_mm256_castsi256_si128(broadcast_4((const char *)block->qh)), run)
                                : _mm256_set_m128i(run, run);
    return trits_32(bytes, _mm256_loadu_si256((const __m256i *)powers[part]));
}

static const format_256 tq1_0_format = {
    tq1_0_unpack_32, scales_of_one, NULL, {2, 0}, sizeof(rz_block_tq1_0), offsetof(rz_block_tq1_0, d), 1, 32, 0};

RZ_GEMV(tq1_0, gemv_256, tq1_0_format)

static void tq1_0_gemm(RZ_MATMUL_PARAMS) { gemm_256(tq1_0_format, RZ_MATMUL_ARGS); }

static void tq1_0_matmul_f32(RZ_MATMUL_PARAMS)
{
    dequantize_and_dot(rz_scalar.format[RZ_TQ1_0].dequantize, RZ_MATMUL_ARGS);
}

#endif
