/* The quantizers for AVX2. */
#if defined(__x86_64__)

#include <immintrin.h>

#include "realizar/target.h"

RZ_TARGET("avx2,fma,f16c")

#include "realizar/avx2/codes.h"
#include "realizar/avx2/f32x16.h"
#include "realizar/quantize/quantizers.h"

const struct rz_quantizers rz_quantizers_avx2 = {RZ_QUANTIZERS, largest_magnitude};

RZ_TARGET_END

#endif
