/* The 256-element formats without scales of groups: TQ1_0 and TQ2_0. */
#ifndef REALIZAR_SCALAR_NO_SCALES_H
#define REALIZAR_SCALAR_NO_SCALES_H

#include <string.h>

#include "realizar/scalar/half.h"
#include "realizar/scalar/ints.h"

static inline void unpack_one_scale(uint16_t d, ints_256 *out)
{
    out->d = rz_f16_to_f32(d);
    out->m = 0;
    memset(out->scale, 1, sizeof out->scale);
    memset(out->min, 0, sizeof out->min);
}

#endif
