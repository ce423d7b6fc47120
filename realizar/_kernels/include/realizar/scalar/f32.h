/* F32: floats as they are. */
#ifndef REALIZAR_SCALAR_F32_H
#define REALIZAR_SCALAR_F32_H

#include <string.h>

#include "realizar/scalar/dot_f32.h"

static void f32_dequantize(const void *w, size_t k, float *y) { memcpy(y, w, k * sizeof *y); }

static void f32_matmul(RZ_MATMUL_PARAMS) { dequantize_and_dot(f32_dequantize, RZ_MATMUL_ARGS); }

#endif
