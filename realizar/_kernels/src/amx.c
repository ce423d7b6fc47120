/* The amx level: products with many tokens on tile registers; the rest is inherited from avx512. */
#if defined(__x86_64__) && __has_include(<amxint8intrin.h>)

#include <immintrin.h>

#include "realizar/isa_levels.h"
#include "realizar/target.h"

RZ_TARGET("avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,amx-tile,amx-int8")

#include "realizar/amx/gemm_256.h"
#include "realizar/amx/gemm_32.h"

static void q4_0_gemm(RZ_MATMUL_PARAMS) { gemm_32_tiles(RZ_Q4_0, NO_MIN, RZ_MATMUL_ARGS); }
static void q4_1_gemm(RZ_MATMUL_PARAMS) { gemm_32_tiles(RZ_Q4_1, HAS_MIN, RZ_MATMUL_ARGS); }
static void q5_0_gemm(RZ_MATMUL_PARAMS) { gemm_32_tiles(RZ_Q5_0, NO_MIN, RZ_MATMUL_ARGS); }
static void q5_1_gemm(RZ_MATMUL_PARAMS) { gemm_32_tiles(RZ_Q5_1, HAS_MIN, RZ_MATMUL_ARGS); }
static void q8_0_gemm(RZ_MATMUL_PARAMS) { gemm_32_tiles(RZ_Q8_0, NO_MIN, RZ_MATMUL_ARGS); }
static void mxfp4_gemm(RZ_MATMUL_PARAMS) { gemm_32_tiles(RZ_MXFP4, NO_MIN, RZ_MATMUL_ARGS); }
static void iq4_nl_gemm(RZ_MATMUL_PARAMS) { gemm_32_tiles(RZ_IQ4_NL, NO_MIN, RZ_MATMUL_ARGS); }
static void q2_k_gemm(RZ_MATMUL_PARAMS) { gemm_256_tiles(RZ_Q2_K, 0, 16, RZ_MATMUL_ARGS); }
static void q3_k_gemm(RZ_MATMUL_PARAMS) { gemm_256_tiles(RZ_Q3_K, 0, 0, RZ_MATMUL_ARGS); }
static void q4_k_gemm(RZ_MATMUL_PARAMS) { gemm_256_tiles(RZ_Q4_K, 8, 8, RZ_MATMUL_ARGS); }
static void q5_k_gemm(RZ_MATMUL_PARAMS) { gemm_256_tiles(RZ_Q5_K, 8, 8, RZ_MATMUL_ARGS); }
static void q6_k_gemm(RZ_MATMUL_PARAMS) { gemm_256_tiles(RZ_Q6_K, 16, 0, RZ_MATMUL_ARGS); }
static void iq4_xs_gemm(RZ_MATMUL_PARAMS) { gemm_256_tiles(RZ_IQ4_XS, 8, 0, RZ_MATMUL_ARGS); }
static void iq3_xxs_gemm(RZ_MATMUL_PARAMS) { gemm_256_tiles(RZ_IQ3_XXS, 8, 0, RZ_MATMUL_ARGS); }
static void iq3_s_gemm(RZ_MATMUL_PARAMS) { gemm_256_tiles(RZ_IQ3_S, 16, 0, RZ_MATMUL_ARGS); }
static void iq2_xxs_gemm(RZ_MATMUL_PARAMS) { gemm_256_tiles(RZ_IQ2_XXS, 8, 0, RZ_MATMUL_ARGS); }
static void iq2_xs_gemm(RZ_MATMUL_PARAMS) { gemm_256_tiles(RZ_IQ2_XS, 16, 0, RZ_MATMUL_ARGS); }
static void iq2_s_gemm(RZ_MATMUL_PARAMS) { gemm_256_tiles(RZ_IQ2_S, 16, 0, RZ_MATMUL_ARGS); }
static void iq1_s_gemm(RZ_MATMUL_PARAMS) { gemm_256_tiles(RZ_IQ1_S, 16, 0, RZ_MATMUL_ARGS); }
static void iq1_m_gemm(RZ_MATMUL_PARAMS) { gemm_256_tiles(RZ_IQ1_M, 16, 0, RZ_MATMUL_ARGS); }

const struct rz_kernels rz_amx = {
    .name = "amx",

    /* dequantize, gemv, gemm, matmul_f32, gemm_tokens */
    .format[RZ_Q4_0] = {NULL, NULL, q4_0_gemm, NULL, gemm_tokens_tiles_32},
    .format[RZ_Q4_1] = {NULL, NULL, q4_1_gemm, NULL, gemm_tokens_tiles_32},
    .format[RZ_Q5_0] = {NULL, NULL, q5_0_gemm, NULL, gemm_tokens_tiles_32},
    .format[RZ_Q5_1] = {NULL, NULL, q5_1_gemm, NULL, gemm_tokens_tiles_32},
    .format[RZ_Q8_0] = {NULL, NULL, q8_0_gemm, NULL, gemm_tokens_tiles_32},
    .format[RZ_MXFP4] = {NULL, NULL, mxfp4_gemm, NULL, gemm_tokens_tiles_32},
    .format[RZ_Q2_K] = {NULL, NULL, q2_k_gemm, NULL, gemm_tokens_tiles},
    .format[RZ_Q3_K] = {NULL, NULL, q3_k_gemm, NULL, gemm_tokens_tiles},
    .format[RZ_Q4_K] = {NULL, NULL, q4_k_gemm, NULL, gemm_tokens_tiles},
    .format[RZ_Q5_K] = {NULL, NULL, q5_k_gemm, NULL, gemm_tokens_tiles},
    .format[RZ_Q6_K] = {NULL, NULL, q6_k_gemm, NULL, gemm_tokens_tiles},
    .format[RZ_IQ4_NL] = {NULL, NULL, iq4_nl_gemm, NULL, gemm_tokens_tiles_32},
    .format[RZ_IQ4_XS] = {NULL, NULL, iq4_xs_gemm, NULL, gemm_tokens_tiles},
    .format[RZ_IQ3_XXS] = {NULL, NULL, iq3_xxs_gemm, NULL, gemm_tokens_tiles},
    .format[RZ_IQ3_S] = {NULL, NULL, iq3_s_gemm, NULL, gemm_tokens_tiles},
    .format[RZ_IQ2_XXS] = {NULL, NULL, iq2_xxs_gemm, NULL, gemm_tokens_tiles},
    .format[RZ_IQ2_XS] = {NULL, NULL, iq2_xs_gemm, NULL, gemm_tokens_tiles},
    .format[RZ_IQ2_S] = {NULL, NULL, iq2_s_gemm, NULL, gemm_tokens_tiles},
    .format[RZ_IQ1_S] = {NULL, NULL, iq1_s_gemm, NULL, gemm_tokens_tiles},
    .format[RZ_IQ1_M] = {NULL, NULL, iq1_m_gemm, NULL, gemm_tokens_tiles},
};

RZ_TARGET_END

#endif
