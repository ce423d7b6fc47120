/* IQ4_XS: 4 bits, each one of sixteen signed values, eight signed integer scales. */
#ifndef REALIZAR_AVX2_IQ4_XS_H
#define REALIZAR_AVX2_IQ4_XS_H

#include "realizar/avx2/codewords.h"
#include "realizar/avx2/dot_f32.h"
#include "realizar/isa_levels.h"

static inline __m256i iq4_xs_unpack_32(const char *row, size_t i)
{
    const rz_block_iq4_xs *block = (const rz_block_iq4_xs *)row + i / 8;
    const __m256i values = _mm256_broadcastsi128_si256(_mm_setr_epi8(RZ_IQ4_VALUES));
    return _mm256_shuffle_epi8(values, unpack_nibbles(block->qs + i % 8 * 16));
}

static const format_256 iq4_xs_format = {
    iq4_xs_unpack_32, iq4_xs_scales, NULL, {128, 1}, sizeof(rz_block_iq4_xs), 0, 0, 32, 0};

RZ_GEMV(iq4_xs, gemv_256, iq4_xs_format)

static void iq4_xs_gemm(RZ_MATMUL_PARAMS) { gemm_256(iq4_xs_format, RZ_MATMUL_ARGS); }

static void iq4_xs_matmul_f32(RZ_MATMUL_PARAMS)
{
    dequantize_and_dot(rz_scalar.format[RZ_IQ4_XS].dequantize, RZ_MATMUL_ARGS);
}

#endif
