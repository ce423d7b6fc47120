/* IQ4_XS: 256 elements of 4 bits, each one of sixteen values, in sub-blocks of 32, value d * (scale - 32) * q. */
#ifndef REALIZAR_SCALAR_IQ4_XS_H
#define REALIZAR_SCALAR_IQ4_XS_H

#include "realizar/blocks.h"
#include "realizar/codebooks.h"
#include "realizar/scalar/dot_f32.h"
#include "realizar/scalar/half.h"
#include "realizar/scalar/ints.h"
#include "realizar/scalar/iq4_nl.h"

static inline void iq4_xs_unpack(const void *data, ints_256 *out)
{
    const rz_block_iq4_xs *block = data;
    out->d = rz_f16_to_f32(block->d);
    out->m = 0;
    memset(out->min, 0, sizeof out->min);
    for (int j = 0; j < 8; j++) {
        int low = block->scales_l[j / 2] >> j % 2 * 4 & 15, high = block->scales_h >> 2 * j & 3;
        out->scale[2 * j] = out->scale[2 * j + 1] = (int8_t)((low | high << 4) - 32);
        iq4_values(block->qs + 16 * j, out->q + 32 * j);
    }
}

static void iq4_xs_dequantize(const void *w, size_t k, float *y)
{
    dequantize_256(iq4_xs_unpack, sizeof(rz_block_iq4_xs), NO_MIN, w, k, y);
}

static void iq4_xs_gemv(RZ_MATMUL_PARAMS) { gemv_256(iq4_xs_unpack, sizeof(rz_block_iq4_xs), NO_MIN, RZ_MATMUL_ARGS); }

static void iq4_xs_matmul_f32(RZ_MATMUL_PARAMS) { dequantize_and_dot(iq4_xs_dequantize, RZ_MATMUL_ARGS); }

#endif
