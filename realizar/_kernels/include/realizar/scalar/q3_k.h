/* Q3_K: 256 elements of 3 bits in sub-blocks of 16, value d * (scale - 32) * (q - 4). */
#ifndef REALIZAR_SCALAR_Q3_K_H
#define REALIZAR_SCALAR_Q3_K_H

#include "realizar/blocks.h"
#include "realizar/scalar/dot_f32.h"
#include "realizar/scalar/half.h"
#include "realizar/scalar/ints.h"

/* The low nibbles of bytes 0..7, then their high nibbles, are the lower four bits of the sixteen scales; bit pair j of
 * byte 8 + i is the upper two bits of scale 4 * j + i. */
static inline int q3_k_scale(const uint8_t *packed, int g)
{
    int low = packed[g % 8] >> g / 8 * 4 & 15;
    int high = packed[8 + g % 4] >> g / 4 * 2 & 3;
    return (low | high << 4) - 32;
}

static inline void q3_k_unpack(const void *data, ints_256 *out)
{
    const rz_block_q3_k *block = data;
    out->d = rz_f16_to_f32(block->d);
    out->m = 0;
    memset(out->min, 0, sizeof out->min);
    for (int g = 0; g < 16; g++) out->scale[g] = (int8_t)q3_k_scale(block->scales, g);
    for (int i = 0; i < 256; i++) {
        int low = block->qs[i / 128 * 32 + i % 32] >> i % 128 / 32 * 2 & 3;
        int high = block->hmask[i % 32] >> i / 32 & 1;
        out->q[i] = (int8_t)((low | high << 2) - 4);
    }
}

static void q3_k_dequantize(const void *w, size_t k, float *y)
{
    dequantize_256(q3_k_unpack, sizeof(rz_block_q3_k), NO_MIN, w, k, y);
}

static void q3_k_gemv(RZ_MATMUL_PARAMS) { gemv_256(q3_k_unpack, sizeof(rz_block_q3_k), NO_MIN, RZ_MATMUL_ARGS); }

static void q3_k_matmul_f32(RZ_MATMUL_PARAMS) { dequantize_and_dot(q3_k_dequantize, RZ_MATMUL_ARGS); }

#endif
