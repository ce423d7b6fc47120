/* BF16: the upper halves of floats; the activations stay floats. */
#ifndef REALIZAR_AVX2_BF16_H
#define REALIZAR_AVX2_BF16_H

#include "realizar/avx2/dot_f32.h"

static void bf16_matmul(RZ_MATMUL_PARAMS) { matmul_floats(load_16_bf16, 2, RZ_MATMUL_ARGS); }

#endif
