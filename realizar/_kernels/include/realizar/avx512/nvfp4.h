/* NVFP4: 36 bytes per 64 elements; four groups of 16, whose elements are indices of values offset by 16. */
#ifndef REALIZAR_AVX512_NVFP4_H
#define REALIZAR_AVX512_NVFP4_H

#include "realizar/avx512/dot_f32.h"
#include "realizar/avx512/gemm_32.h"
#include "realizar/avx512/gemv_32.h"
#include "realizar/blocks.h"
#include "realizar/isa_levels.h"

/* Lane g: group g, whose eight bytes have the low nibbles first. */
static inline __m512i nvfp4_unpack_64(const char *row, size_t i)
{
    const rz_block_nvfp4 *block = (const rz_block_nvfp4 *)row + i;
    const __m512i twice = _mm512_set_epi64(3, 3, 2, 2, 1, 1, 0, 0), by_0_4 = _mm512_set4_epi64(4, 0, 4, 0);
    const __m128i values = _mm_add_epi8(_mm_setr_epi8(RZ_MXFP4_VALUES), _mm_set1_epi8(16));
    __m512i packed = _mm512_castsi256_si512(_mm256_loadu_si256((const __m256i *)block->qs));
    __m512i nibbles = _mm512_srlv_epi64(_mm512_permutexvar_epi64(twice, packed), by_0_4);
    return _mm512_shuffle_epi8(_mm512_broadcast_i32x4(values), _mm512_and_si512(nibbles, _mm512_set1_epi8(15)));
}

static inline __m512i nvfp4_dot_4(const char *block, const act_4 *x)
{
    __m512i start = _mm512_sub_epi32(_mm512_setzero_si512(), _mm512_slli_epi32(x->sum, 4));
    return _mm512_dpbusd_epi32(start, nvfp4_unpack_64(block, 0), x->blocks_01);
}

static const gemv_32_format nvfp4_gemv_format = {nvfp4_dot_4, NULL, sizeof(rz_block_nvfp4), TWO_SCALES, E4M3_SCALES,
                                                 2,           0};

RZ_GEMV(nvfp4, gemv_32, nvfp4_gemv_format)

static const gemm_32_format nvfp4_gemm_format = {
    nvfp4_unpack_64, sizeof(rz_block_nvfp4), 4, TWO_SCALES, E4M3_SCALES, 1, 0};

static void nvfp4_gemm(RZ_MATMUL_PARAMS) { gemm_32(nvfp4_gemm_format, RZ_MATMUL_ARGS); }

static void nvfp4_matmul_f32(RZ_MATMUL_PARAMS)
{
    dequantize_and_dot(rz_scalar.format[RZ_NVFP4].dequantize, RZ_MATMUL_ARGS);
}

#endif
