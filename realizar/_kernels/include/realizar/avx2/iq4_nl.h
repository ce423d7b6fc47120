/* IQ4_NL: 4 bits, each one of sixteen signed values. */
#ifndef REALIZAR_AVX2_IQ4_NL_H
#define REALIZAR_AVX2_IQ4_NL_H

#include "realizar/avx2/dot_f32.h"
#include "realizar/avx2/nibbles.h"
#include "realizar/avx2/product_32.h"
#include "realizar/blocks.h"
#include "realizar/codebooks.h"
#include "realizar/isa_levels.h"

static inline __m256i iq4_nl_unpack_32(const char *row, size_t i)
{
    const rz_block_iq4_nl *block = (const rz_block_iq4_nl *)row + i;
    const __m256i values = _mm256_broadcastsi128_si256(_mm_setr_epi8(RZ_IQ4_VALUES));
    return _mm256_shuffle_epi8(values, unpack_nibbles(block->qs));
}

static const format_32 iq4_nl_format = {
    iq4_nl_unpack_32, {128, 1}, sizeof(rz_block_iq4_nl), 0, NO_MIN, HALF_SCALES, 0, 0, NULL};

RZ_GEMV(iq4_nl, gemv_32, iq4_nl_format)

static void iq4_nl_gemm(RZ_MATMUL_PARAMS) { gemm_32(iq4_nl_format, RZ_MATMUL_ARGS); }

static void iq4_nl_matmul_f32(RZ_MATMUL_PARAMS)
{
    dequantize_and_dot(rz_scalar.format[RZ_IQ4_NL].dequantize, RZ_MATMUL_ARGS);
}

#endif
