/* The quantizers for AVX-512. */
#if defined(__x86_64__)

#include <immintrin.h>

#include "realizar/target.h"

RZ_TARGET("avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")

#include "realizar/avx512/codes.h"
#include "realizar/avx512/f32x16.h"
#include "realizar/quantize/quantizers.h"

const struct rz_quantizers rz_quantizers_avx512 = {RZ_QUANTIZERS, largest_magnitude};

RZ_TARGET_END

#endif
