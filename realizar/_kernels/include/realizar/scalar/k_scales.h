/* The packed sub-block scales of Q4_K and Q5_K: eight 6-bit scales and eight 6-bit minima in 12 bytes. */
#ifndef REALIZAR_SCALAR_K_SCALES_H
#define REALIZAR_SCALAR_K_SCALES_H

#include "realizar/scalar/ints.h"

/* Bytes 0..3 and 4..7: scales and minima of sub-blocks 0..3 in six bits, above them the two upper bits of sub-blocks
 * 4..7; bytes 8..11: the lower four bits of these. A sub-block of 32 is two groups of 16. */
static inline void k_scales_unpack(const uint8_t *packed, ints_256 *out)
{
    for (int j = 0; j < 4; j++) {
        int scale_high = (packed[j] >> 6 << 4) | (packed[j + 8] & 15);
        int min_high = (packed[j + 4] >> 6 << 4) | packed[j + 8] >> 4;
        for (int i = 0; i < 2; i++) {
            out->scale[2 * j + i] = packed[j] & 63;
            out->min[2 * j + i] = packed[j + 4] & 63;
            out->scale[2 * j + 8 + i] = (int8_t)scale_high;
            out->min[2 * j + 8 + i] = (uint8_t)min_high;
        }
    }
}

#endif
