/* PTQ1_0: base-3 digits, offset by 1. */
#ifndef REALIZAR_AVX2_PTQ1_0_H
#define REALIZAR_AVX2_PTQ1_0_H

#include "realizar/avx2/dot_f32.h"
#include "realizar/avx2/product_32.h"
#include "realizar/avx2/trits.h"
#include "realizar/blocks.h"
#include "realizar/isa_levels.h"

/* The bytes and powers of a quarter of a block: bytes 0..15 of the lower sixteen (scalar/ptq1_0.h), and 4..13 of the
 * last sixteen, which are bytes 16..25. */
static inline __m256i ptq1_0_unpack_32(const char *row, size_t i)
{
    static const int16_t powers[4][16] = {{RZ_POWERS(1, 1, 3, 3)},
                                          {RZ_POWERS(9, 9, 27, 27)},
                                          {RZ_POWERS(81, 81, 1, 3)},
                                          {9, 9, 9, 9, 27, 27, 27, 27, 81, 81, 81, 81, 1, 3, 9, 27}};
    const rz_block_ptq1_0 *block = (const rz_block_ptq1_0 *)row + i / 4;
    const size_t part = i % 4;
    const __m128i run = _mm_setr_epi8(4, 5, 6, 7, 8, 9, 10, 11, 4, 5, 6, 7, 8, 9, 10, 11);
    const __m128i last = _mm_setr_epi8(4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 12, 13, 12, 13, 12, 13);
    __m128i lower = _mm_loadu_si128((const __m128i *)block->qs);
    __m128i upper = _mm_loadu_si128((const __m128i *)(block->qs + 12));
    __m128i first = part == 3 ? _mm_shuffle_epi8(upper, run) : lower;
    __m128i second = part < 2 ? lower : _mm_shuffle_epi8(upper, part == 3 ? last : run);
    return trits_32(_mm256_set_m128i(second, first), _mm256_loadu_si256((const __m256i *)powers[part]));
}

static const format_32 ptq1_0_format = {ptq1_0_unpack_32, {2, 0}, sizeof(rz_block_ptq1_0),      1,   NO_MIN,
                                        HALF_SCALES,      2,      offsetof(rz_block_ptq1_0, d), NULL};

RZ_GEMV(ptq1_0, gemv_32, ptq1_0_format)

static void ptq1_0_gemm(RZ_MATMUL_PARAMS) { gemm_32(ptq1_0_format, RZ_MATMUL_ARGS); }

static void ptq1_0_matmul_f32(RZ_MATMUL_PARAMS)
{
    dequantize_and_dot(rz_scalar.format[RZ_PTQ1_0].dequantize, RZ_MATMUL_ARGS);
}

#endif
