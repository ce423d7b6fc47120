/* PTQ1_0: 28 bytes per 128 base-3 digits. */
#ifndef REALIZAR_AVX512_PTQ1_0_H
#define REALIZAR_AVX512_PTQ1_0_H

#include "realizar/avx512/dot_f32.h"
#include "realizar/avx512/gemm_32.h"
#include "realizar/avx512/gemv_32.h"
#include "realizar/avx512/trits.h"
#include "realizar/blocks.h"
#include "realizar/isa_levels.h"

/* In each lane: bytes 0..15 of a block, and bytes 12..27, of which 4..11 are the run of 8 bytes and 12..13 that of two. */
RZ_INLINE __m512i ptq1_0_bytes(const rz_block_ptq1_0 *block, size_t at)
{
    return _mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i *)(block->qs + at)));
}

/* The run of 8 bytes twice. */
RZ_INLINE __m512i ptq1_0_run(void) { return _mm512_set4_epi32(0x0b0a0908, 0x07060504, 0x0b0a0908, 0x07060504); }

/* The same, and in the last lane the run of 8 bytes once, then that of two bytes four times. */
RZ_INLINE __m512i ptq1_0_last_run(void) { return _mm512_mask_set1_epi32(ptq1_0_run(), 0xc000, 0x0d0c0d0c); }

/* The powers of the last lane are 81, and 1, 3, 9, 27 for pairs of elements. */
RZ_INLINE __m512i ptq1_0_last_powers(__m512i powers)
{
    return _mm512_mask_set1_epi64(powers, 0x80, 0x001b000900030001);
}

/* Lane b: the first and the second 16 elements of quarter b, offset by 1. */
static inline __m512i ptq1_0_dot_4(const char *data, const act_4 *x)
{
    const rz_block_ptq1_0 *block = (const rz_block_ptq1_0 *)data;
    __m512i lower = ptq1_0_bytes(block, 0), upper = ptq1_0_bytes(block, 12);
    __m512i low = _mm512_mask_shuffle_epi8(lower, 0xffff000000000000, upper, ptq1_0_run());
    __m512i high = _mm512_mask_shuffle_epi8(lower, 0xffffffff00000000, upper, ptq1_0_last_run());
    low = trits_64(low, powers_of_8(1, 1, 9, 9, 81, 81, 9, 27));
    high = trits_64(high, ptq1_0_last_powers(powers_of_8(3, 3, 27, 27, 1, 3, 81, 0)));
    __m512i start = _mm512_sub_epi32(_mm512_setzero_si512(), x->sum);
    return _mm512_dpbusd_epi32(_mm512_dpbusd_epi32(start, low, x->low), high, x->high);
}

/* In their order, plus one: offset by 2. */
static inline __m512i ptq1_0_unpack_64(const char *row, size_t i)
{
    const rz_block_ptq1_0 *block = (const rz_block_ptq1_0 *)row + i / 2;
    __m512i bytes = ptq1_0_bytes(block, 0), powers = powers_of_8(1, 1, 3, 3, 9, 9, 27, 27);
    if (i % 2) {
        bytes = _mm512_mask_shuffle_epi8(bytes, 0xffffffffffff0000, ptq1_0_bytes(block, 12), ptq1_0_last_run());
        powers = ptq1_0_last_powers(powers_of_8(81, 81, 1, 3, 9, 27, 81, 0));
    }
    return _mm512_add_epi8(trits_64(bytes, powers), _mm512_set1_epi8(1));
}

/* d is in the upper half of the last dword. */
enum { PTQ1_0_D_AT = offsetof(rz_block_ptq1_0, d) - 2 };

static const gemv_32_format ptq1_0_gemv_format = {
    ptq1_0_dot_4, NULL, sizeof(rz_block_ptq1_0), NO_MIN, UPPER_HALF_SCALES, 2, PTQ1_0_D_AT};

RZ_GEMV(ptq1_0, gemv_32, ptq1_0_gemv_format)

static const gemm_32_format ptq1_0_gemm_format = {
    ptq1_0_unpack_64, sizeof(rz_block_ptq1_0), 1, NO_MIN, UPPER_HALF_SCALES, 2, PTQ1_0_D_AT};

static void ptq1_0_gemm(RZ_MATMUL_PARAMS) { gemm_32(ptq1_0_gemm_format, RZ_MATMUL_ARGS); }

static void ptq1_0_matmul_f32(RZ_MATMUL_PARAMS)
{
    dequantize_and_dot(rz_scalar.format[RZ_PTQ1_0].dequantize, RZ_MATMUL_ARGS);
}

#endif
