/* NVFP4: the values of the nibbles, offset by 16 so that they are unsigned. */
#ifndef REALIZAR_AVX2_NVFP4_H
#define REALIZAR_AVX2_NVFP4_H

#include "realizar/avx2/dot_f32.h"
#include "realizar/avx2/product_32.h"
#include "realizar/blocks.h"
#include "realizar/isa_levels.h"

static inline __m256i nvfp4_unpack_32(const char *row, size_t i)
{
    const rz_block_nvfp4 *block = (const rz_block_nvfp4 *)row + i / 2;
    const __m128i values = _mm_add_epi8(_mm_setr_epi8(RZ_MXFP4_VALUES), _mm_set1_epi8(16));
    __m256i packed = _mm256_castsi128_si256(_mm_loadu_si128((const __m128i *)(block->qs + i % 2 * 16)));
    __m256i twice = _mm256_permute4x64_epi64(packed, 0x50);
    __m256i nibbles = _mm256_and_si256(_mm256_srlv_epi64(twice, _mm256_setr_epi64x(0, 4, 0, 4)), _mm256_set1_epi8(15));
    return _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(values), nibbles);
}

static const format_32 nvfp4_format = {
    nvfp4_unpack_32, {28, 0}, sizeof(rz_block_nvfp4), 16, TWO_SCALES, E4M3_SCALES, 1, 0, NULL};

RZ_GEMV(nvfp4, gemv_32, nvfp4_format)

static void nvfp4_gemm(RZ_MATMUL_PARAMS) { gemm_32(nvfp4_format, RZ_MATMUL_ARGS); }

static void nvfp4_matmul_f32(RZ_MATMUL_PARAMS)
{
    dequantize_and_dot(rz_scalar.format[RZ_NVFP4].dequantize, RZ_MATMUL_ARGS);
}

#endif
