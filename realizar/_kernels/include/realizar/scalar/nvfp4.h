/* NVFP4: 64 floats of 4 bits in groups of 16 with a scale of 8 bits. */
#ifndef REALIZAR_SCALAR_NVFP4_H
#define REALIZAR_SCALAR_NVFP4_H

#include "realizar/blocks.h"
#include "realizar/scalar/dot_f32.h"
#include "realizar/scalar/half.h"
#include "realizar/scalar/ints.h"

static inline void nvfp4_unpack(const void *data, ints_32 *out)
{
    static const int8_t values[16] = {RZ_MXFP4_VALUES};
    const rz_block_nvfp4 *block = data;
    for (int i = 0; i < 64; i++) {
        int nibble = block->qs[i / 16 * 8 + i % 8] >> i / 8 % 2 * 4 & 15;
        out[i / 32].q[i % 32] = values[nibble];
    }
    for (int i = 0; i < 2; i++) {
        out[i].d = ue4m3_f32(block->d[2 * i]);
        out[i].m = ue4m3_f32(block->d[2 * i + 1]);
    }
}

static void nvfp4_dequantize(const void *w, size_t k, float *y)
{
    dequantize_parts(nvfp4_unpack, 2, sizeof(rz_block_nvfp4), TWO_SCALES, w, k, y);
}

static void nvfp4_gemv(RZ_MATMUL_PARAMS)
{
    gemv_parts(nvfp4_unpack, 2, sizeof(rz_block_nvfp4), TWO_SCALES, RZ_MATMUL_ARGS);
}

static void nvfp4_matmul_f32(RZ_MATMUL_PARAMS) { dequantize_and_dot(nvfp4_dequantize, RZ_MATMUL_ARGS); }

#endif
