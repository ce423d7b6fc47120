/* The 256-element formats without scales of groups, TQ1_0 and TQ2_0: their elements are offset by 1, d is at the end. */
#ifndef REALIZAR_AVX512_NO_SCALES_H
#define REALIZAR_AVX512_NO_SCALES_H

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

#endif
