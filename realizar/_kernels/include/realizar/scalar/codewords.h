/* Codewords of the IQ formats as plain integers. */
#ifndef REALIZAR_SCALAR_CODEWORDS_H
#define REALIZAR_SCALAR_CODEWORDS_H

#include "realizar/scalar/codeword_bits.h"
#include "realizar/scalar/ints.h"

/* n bytes of a codeword; bit i of signs negates element i. */
static inline void unpack_codeword(uint64_t word, int n, unsigned signs, int8_t *q)
{
    for (int i = 0; i < n; i++) {
        int value = (int)(word >> 8 * i & 255);
        q[i] = (int8_t)(signs >> i & 1 ? -value : value);
    }
}

/* The odd scale 2 * s + 1 of sub-block j of 32. */
static inline void set_odd_scale(ints_256 *out, int j, unsigned s)
{
    out->scale[2 * j] = out->scale[2 * j + 1] = (int8_t)(2 * s + 1);
}

/* Formats without minima; d times a power of two. */
static inline void start_codewords(ints_256 *out, float d)
{
    out->d = d;
    out->m = 0;
    memset(out->min, 0, sizeof out->min);
}

/* 8 * v + delta of eight elements, from their bytes 8 * v + 16. */
static inline void unpack_ternary(uint64_t word, int delta, int8_t *q)
{
    for (int i = 0; i < 8; i++) q[i] = (int8_t)((int)(word >> 8 * i & 255) - 16 + delta);
}

#endif
