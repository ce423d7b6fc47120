/* F16: half floats; the activations stay floats. */
#ifndef REALIZAR_SCALAR_F16_H
#define REALIZAR_SCALAR_F16_H

#include "realizar/scalar/dot_f32.h"
#include "realizar/scalar/half.h"

static void f16_dequantize(const void *w, size_t k, float *y)
{
    const uint16_t *half = w;
    for (size_t i = 0; i < k; i++) y[i] = rz_f16_to_f32(half[i]);
}

static void f16_matmul(RZ_MATMUL_PARAMS) { dequantize_and_dot(f16_dequantize, RZ_MATMUL_ARGS); }

#endif
