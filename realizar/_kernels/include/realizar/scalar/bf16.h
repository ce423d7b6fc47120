/* BF16: the upper halves of floats; the activations stay floats. */
#ifndef REALIZAR_SCALAR_BF16_H
#define REALIZAR_SCALAR_BF16_H

#include "realizar/scalar/dot_f32.h"
#include "realizar/scalar/half.h"

static void bf16_dequantize(const void *w, size_t k, float *y)
{
    const uint16_t *upper = w;
    for (size_t i = 0; i < k; i++) y[i] = rz_bf16_to_f32(upper[i]);
}

static void bf16_matmul(RZ_MATMUL_PARAMS) { dequantize_and_dot(bf16_dequantize, RZ_MATMUL_ARGS); }

#endif
