/* The avx512 tier: AVX-512 F, BW, DQ, VL and VNNI. */
#if defined(__x86_64__)

#include <immintrin.h>

#include "realizar/target.h"
#include "realizar/tiers.h"

RZ_TARGET("avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")

const struct rz_kernels rz_avx512 = {
    .name = "avx512",
};

RZ_TARGET_END

#endif
