/* The avx2 tier: AVX2 with FMA and F16C. */
#if defined(__x86_64__)

#include <immintrin.h>

#include "realizar/target.h"
#include "realizar/tiers.h"

RZ_TARGET("avx2,fma,f16c")

const struct rz_kernels rz_avx2 = {
    .name = "avx2",
};

RZ_TARGET_END

#endif
