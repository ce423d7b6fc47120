/* TQ1_0: 256 base-3 digits, one scale. */
#ifndef REALIZAR_AVX512_TQ1_0_H
#define REALIZAR_AVX512_TQ1_0_H

#include "realizar/avx512/no_scales.h"
#include "realizar/avx512/trits.h"
#include "realizar/blocks.h"
#include "realizar/isa_levels.h"

static inline __m512i tq1_0_unpack_64(const char *row, size_t i)
{
    const rz_block_tq1_0 *block = (const rz_block_tq1_0 *)row + i / 4;
    __m512i bytes = _mm512_broadcast_i64x4(_mm256_loadu_si256((const __m256i *)block->qs));
    if (i % 4 < 2)
        return trits_64(bytes, i % 4 ? powers_of_8(9, 9, 9, 9, 27, 27, 27, 27) : powers_of_8(1, 1, 1, 1, 3, 3, 3, 3));
    __m512i run = _mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i *)(block->qs + 32)));
    if (i % 4 == 2) return trits_64(_mm512_mask_mov_epi64(bytes, 0xf0, run), powers_of_8(81, 81, 81, 81, 1, 1, 3, 3));
    int32_t last;
    memcpy(&last, block->qh, sizeof last);
    __m512i powers = _mm512_mask_set1_epi64(powers_of_8(9, 9, 27, 27, 81, 81, 0, 0), 0x40, 0x0003000300010001);
    powers = _mm512_mask_set1_epi64(powers, 0x80, 0x001b001b00090009);
    return trits_64(_mm512_mask_set1_epi32(run, 0xf000, last), powers);
}

RZ_NO_SCALES(tq1_0, RZ_TQ1_0)

#endif
