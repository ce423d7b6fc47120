/* The avxvnni level: the products of AVX2 with AVX-VNNI (256 bits) for bytes; the rest is inherited from avx2. */
#if defined(__x86_64__) && __has_include(<avxvnniintrin.h>)

#define RZ_AVXVNNI

#include <immintrin.h>

#include "realizar/isa_levels.h"
#include "realizar/target.h"

RZ_TARGET("avx2,fma,f16c,avxvnni")

#include "realizar/avx2/iq1_m.h"
#include "realizar/avx2/iq1_s.h"
#include "realizar/avx2/iq2_s.h"
#include "realizar/avx2/iq2_xs.h"
#include "realizar/avx2/iq2_xxs.h"
#include "realizar/avx2/iq3_s.h"
#include "realizar/avx2/iq3_xxs.h"
#include "realizar/avx2/iq4_nl.h"
#include "realizar/avx2/iq4_xs.h"
#include "realizar/avx2/mxfp4.h"
#include "realizar/avx2/nvfp4.h"
#include "realizar/avx2/ptq1_0.h"
#include "realizar/avx2/q1_0.h"
#include "realizar/avx2/q2_0.h"
#include "realizar/avx2/q2_k.h"
#include "realizar/avx2/q3_k.h"
#include "realizar/avx2/q4_0.h"
#include "realizar/avx2/q4_1.h"
#include "realizar/avx2/q4_k.h"
#include "realizar/avx2/q5_0.h"
#include "realizar/avx2/q5_1.h"
#include "realizar/avx2/q5_k.h"
#include "realizar/avx2/q6_k.h"
#include "realizar/avx2/q8_0.h"
#include "realizar/avx2/tq1_0.h"
#include "realizar/avx2/tq2_0.h"

const struct rz_kernels rz_avxvnni = {
    .name = "avxvnni",

    /* dequantize, gemv, gemm, matmul_f32 */
    .format[RZ_Q4_0] = {NULL, q4_0_gemv, q4_0_gemm, q4_0_matmul_f32},
    .format[RZ_Q4_1] = {NULL, q4_1_gemv, q4_1_gemm, q4_1_matmul_f32},
    .format[RZ_Q5_0] = {NULL, q5_0_gemv, q5_0_gemm, q5_0_matmul_f32},
    .format[RZ_Q5_1] = {NULL, q5_1_gemv, q5_1_gemm, q5_1_matmul_f32},
    .format[RZ_Q8_0] = {NULL, q8_0_gemv, q8_0_gemm, q8_0_matmul_f32},
    .format[RZ_Q2_K] = {NULL, q2_k_gemv, q2_k_gemm, q2_k_matmul_f32},
    .format[RZ_Q3_K] = {NULL, q3_k_gemv, q3_k_gemm, q3_k_matmul_f32},
    .format[RZ_Q4_K] = {NULL, q4_k_gemv, q4_k_gemm, q4_k_matmul_f32},
    .format[RZ_Q5_K] = {NULL, q5_k_gemv, q5_k_gemm, q5_k_matmul_f32},
    .format[RZ_Q6_K] = {NULL, q6_k_gemv, q6_k_gemm, q6_k_matmul_f32},
    .format[RZ_MXFP4] = {NULL, mxfp4_gemv, mxfp4_gemm, mxfp4_matmul_f32},
    .format[RZ_IQ4_NL] = {NULL, iq4_nl_gemv, iq4_nl_gemm, iq4_nl_matmul_f32},
    .format[RZ_IQ4_XS] = {NULL, iq4_xs_gemv, iq4_xs_gemm, iq4_xs_matmul_f32},
    .format[RZ_IQ3_XXS] = {NULL, iq3_xxs_gemv, iq3_xxs_gemm, iq3_xxs_matmul_f32},
    .format[RZ_IQ3_S] = {NULL, iq3_s_gemv, iq3_s_gemm, iq3_s_matmul_f32},
    .format[RZ_IQ2_XXS] = {NULL, iq2_xxs_gemv, iq2_xxs_gemm, iq2_xxs_matmul_f32},
    .format[RZ_IQ2_XS] = {NULL, iq2_xs_gemv, iq2_xs_gemm, iq2_xs_matmul_f32},
    .format[RZ_IQ2_S] = {NULL, iq2_s_gemv, iq2_s_gemm, iq2_s_matmul_f32},
    .format[RZ_IQ1_S] = {NULL, iq1_s_gemv, iq1_s_gemm, iq1_s_matmul_f32},
    .format[RZ_IQ1_M] = {NULL, iq1_m_gemv, iq1_m_gemm, iq1_m_matmul_f32},
    .format[RZ_Q1_0] = {NULL, q1_0_gemv, q1_0_gemm, q1_0_matmul_f32},
    .format[RZ_Q2_0] = {NULL, q2_0_gemv, q2_0_gemm, q2_0_matmul_f32},
    .format[RZ_PQ2_0] = {NULL, pq2_0_gemv, pq2_0_gemm, pq2_0_matmul_f32},
    .format[RZ_PTQ1_0] = {NULL, ptq1_0_gemv, ptq1_0_gemm, ptq1_0_matmul_f32},
    .format[RZ_NVFP4] = {NULL, nvfp4_gemv, nvfp4_gemm, nvfp4_matmul_f32},
    .format[RZ_TQ1_0] = {NULL, tq1_0_gemv, tq1_0_gemm, tq1_0_matmul_f32},
    .format[RZ_TQ2_0] = {NULL, tq2_0_gemv, tq2_0_gemm, tq2_0_matmul_f32},
};

RZ_TARGET_END

#endif
