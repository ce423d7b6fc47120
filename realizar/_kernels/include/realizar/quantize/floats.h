/* F32, F16 and BF16: rounding to the nearest, ties to even; and the largest of some floats. */
#ifndef REALIZAR_QUANTIZE_FLOATS_H
#define REALIZAR_QUANTIZE_FLOATS_H

#include "realizar/quantize/lanes.h"

/* Of signed integers, which every CPU compares sixteen at a time. */
static uint32_t largest_magnitude(const float *x, size_t k)
{
    int32_t most = 0;
    for (size_t i = 0; i < k; i++) {
        int32_t bits;
        memcpy(&bits, x + i, sizeof bits);
        bits &= 0x7fffffff;
        most = bits > most ? bits : most;
    }
    return (uint32_t)most;
}

static int quantize_f32(const float *x, const float *w, size_t k, void *out)
{
    memcpy(out, x, k * sizeof *x);
    return 0;
}

static int quantize_f16(const float *x, const float *w, size_t k, void *out)
{
    uint16_t *to = out;
    int overflow = 0;
    for (size_t i = 0; i < k; i++) half_scale(x[i], to + i, &overflow);
    return overflow;
}

static int quantize_bf16(const float *x, const float *w, size_t k, void *out)
{
    uint16_t *to = out;
    int overflow = 0;
    for (size_t i = 0; i < k; i++) {
        uint32_t bits = rz_f32_to_bits(x[i]);
        to[i] = (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
        overflow |= (to[i] & 0x7f80) == 0x7f80;
    }
    return overflow;
}

#endif
