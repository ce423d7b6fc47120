/* MXFP4: 32 floats of 4 bits, and a power of two as scale. */
#ifndef REALIZAR_SCALAR_MXFP4_H
#define REALIZAR_SCALAR_MXFP4_H

#include "realizar/blocks.h"
#include "realizar/scalar/dot_f32.h"
#include "realizar/scalar/half.h"
#include "realizar/scalar/ints.h"

/* 2^(e - 128); the two smallest are denormal. */
static inline float e8m0_f32(uint8_t e) { return rz_bits_to_f32(e < 2 ? 0x00200000u << e : (uint32_t)(e - 1) << 23); }

static inline void mxfp4_unpack(const void *data, ints_32 *out)
{
    static const int8_t values[16] = {RZ_MXFP4_VALUES};
    const rz_block_mxfp4 *block = data;
    out->d = e8m0_f32(block->e);
    for (int i = 0; i < 16; i++) {
        out->q[i] = values[block->qs[i] & 15];
        out->q[i + 16] = values[block->qs[i] >> 4];
    }
}

static void mxfp4_dequantize(const void *w, size_t k, float *y)
{
    dequantize_32(mxfp4_unpack, sizeof(rz_block_mxfp4), NO_MIN, w, k, y);
}

static void mxfp4_gemv(RZ_MATMUL_PARAMS) { gemv_32(mxfp4_unpack, sizeof(rz_block_mxfp4), NO_MIN, RZ_MATMUL_ARGS); }

static void mxfp4_matmul_f32(RZ_MATMUL_PARAMS) { dequantize_and_dot(mxfp4_dequantize, RZ_MATMUL_ARGS); }

#endif
