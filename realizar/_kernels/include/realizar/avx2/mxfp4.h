/* MXFP4: the values of the nibbles, offset by 16 so that they are unsigned. */
#ifndef REALIZAR_AVX2_MXFP4_H
#define REALIZAR_AVX2_MXFP4_H

#include "realizar/avx2/dot_f32.h"
#include "realizar/avx2/nibbles.h"
#include "realizar/avx2/product_32.h"
#include "realizar/blocks.h"
#include "realizar/isa_levels.h"

static inline __m256i mxfp4_unpack_32(const char *row, size_t i)
{
    const rz_block_mxfp4 *block = (const rz_block_mxfp4 *)row + i;
    const __m128i values = _mm_add_epi8(_mm_setr_epi8(RZ_MXFP4_VALUES), _mm_set1_epi8(16));
    return _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(values), unpack_nibbles(block->qs));
}

static const format_32 mxfp4_format = {
    mxfp4_unpack_32, {28, 0}, sizeof(rz_block_mxfp4), 16, NO_MIN, E8M0_SCALES, 0, 0, NULL};

RZ_GEMV(mxfp4, gemv_32, mxfp4_format)

static void mxfp4_gemm(RZ_MATMUL_PARAMS) { gemm_32(mxfp4_format, RZ_MATMUL_ARGS); }

static void mxfp4_matmul_f32(RZ_MATMUL_PARAMS)
{
    dequantize_and_dot(rz_scalar.format[RZ_MXFP4].dequantize, RZ_MATMUL_ARGS);
}

#endif
