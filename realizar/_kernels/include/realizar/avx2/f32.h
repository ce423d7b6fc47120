/* F32: floats as they are; the activations stay floats. */
#ifndef REALIZAR_AVX2_F32_H
#define REALIZAR_AVX2_F32_H

#include "realizar/avx2/dot_f32.h"

static void f32_matmul(RZ_MATMUL_PARAMS) { matmul_floats(load_16_f32, 4, RZ_MATMUL_ARGS); }

#endif
