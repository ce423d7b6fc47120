/* The avx512 tier: AVX-512 F, BW, DQ, VL and VNNI. */
#if defined(__x86_64__)

#include <immintrin.h>

#include "realizar/target.h"
#include "realizar/tiers.h"

RZ_TARGET("avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")

#include "realizar/avx512/act.h"
#include "realizar/avx512/q4_0.h"
#include "realizar/avx512/q4_1.h"
#include "realizar/avx512/q4_k.h"
#include "realizar/avx512/q5_0.h"
#include "realizar/avx512/q5_1.h"
#include "realizar/avx512/q5_k.h"
#include "realizar/avx512/q6_k.h"
#include "realizar/avx512/q8_0.h"

const struct rz_kernels rz_avx512 = {
    .name = "avx512",

    .format[RZ_Q4_0] = {.gemv = q4_0_gemv},
    .format[RZ_Q4_1] = {.gemv = q4_1_gemv},
    .format[RZ_Q5_0] = {.gemv = q5_0_gemv},
    .format[RZ_Q5_1] = {.gemv = q5_1_gemv},
    .format[RZ_Q8_0] = {.gemv = q8_0_gemv},
    .format[RZ_Q4_K] = {.gemv = q4_k_gemv},
    .format[RZ_Q5_K] = {.gemv = q5_k_gemv},
    .format[RZ_Q6_K] = {.gemv = q6_k_gemv},
    .quantize_act_32 = quantize_act_32,
    .quantize_act_256 = quantize_act_256,
};

RZ_TARGET_END

#endif
