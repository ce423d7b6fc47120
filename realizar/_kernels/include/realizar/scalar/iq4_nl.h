/* IQ4_NL: 32 elements of 4 bits, each one of sixteen values. */
#ifndef REALIZAR_SCALAR_IQ4_NL_H
#define REALIZAR_SCALAR_IQ4_NL_H

#include "realizar/blocks.h"
#include "realizar/codebooks.h"
#include "realizar/scalar/dot_f32.h"
#include "realizar/scalar/half.h"
#include "realizar/scalar/ints.h"

/* Sixteen bytes of nibbles: low ones first. */
static inline void iq4_values(const uint8_t *qs, int8_t *q)
{
    static const int8_t values[16] = {RZ_IQ4_VALUES};
    for (int i = 0; i < 16; i++) {
        q[i] = values[qs[i] & 15];
        q[i + 16] = values[qs[i] >> 4];
    }
}

static inline void iq4_nl_unpack(const void *data, ints_32 *out)
{
    const rz_block_iq4_nl *block = data;
    out->d = rz_f16_to_f32(block->d);
    iq4_values(block->qs, out->q);
}

static void iq4_nl_dequantize(const void *w, size_t k, float *y)
{
    dequantize_32(iq4_nl_unpack, sizeof(rz_block_iq4_nl), NO_MIN, w, k, y);
}

static void iq4_nl_gemv(RZ_MATMUL_PARAMS) { gemv_32(iq4_nl_unpack, sizeof(rz_block_iq4_nl), NO_MIN, RZ_MATMUL_ARGS); }

static void iq4_nl_matmul_f32(RZ_MATMUL_PARAMS) { dequantize_and_dot(iq4_nl_dequantize, RZ_MATMUL_ARGS); }

#endif
