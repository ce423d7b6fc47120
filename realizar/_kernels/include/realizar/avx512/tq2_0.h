/* TQ2_0: 256 elements of 2 bits, one scale. */
#ifndef REALIZAR_AVX512_TQ2_0_H
#define REALIZAR_AVX512_TQ2_0_H

#include "realizar/avx512/no_scales.h"
#include "realizar/blocks.h"
#include "realizar/isa_levels.h"

static inline __m512i tq2_0_unpack_64(const char *row, size_t i)
{
    return unpack_bit_pairs_64(((const rz_block_tq2_0 *)row + i / 4)->qs, i % 4);
}

RZ_NO_SCALES(tq2_0, RZ_TQ2_0)

#endif
