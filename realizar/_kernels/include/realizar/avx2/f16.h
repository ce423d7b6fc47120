/* F16: half floats; the activations stay floats. */
#ifndef REALIZAR_AVX2_F16_H
#define REALIZAR_AVX2_F16_H

#include "realizar/avx2/dot_f32.h"

static void f16_matmul(RZ_MATMUL_PARAMS) { matmul_floats(load_16_f16, 2, RZ_MATMUL_ARGS); }

#endif
