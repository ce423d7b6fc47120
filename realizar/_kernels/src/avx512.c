/* The avx512 level: AVX-512 F, BW, DQ, VL and VNNI. */
#if defined(__x86_64__)

#include <immintrin.h>

#include "realizar/isa_levels.h"
#include "realizar/target.h"

RZ_TARGET("avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")

#include "realizar/avx512/act.h"
#include "realizar/avx512/bf16.h"
#include "realizar/avx512/f16.h"
#include "realizar/avx512/f32.h"
#include "realizar/avx512/f32x16.h"
#include "realizar/avx512/i32x16.h"
#include "realizar/avx512/iq1_m.h"
#include "realizar/avx512/iq1_s.h"
#include "realizar/avx512/iq2_s.h"
#include "realizar/avx512/iq2_xs.h"
#include "realizar/avx512/iq2_xxs.h"
#include "realizar/avx512/iq3_s.h"
#include "realizar/avx512/iq3_xxs.h"
#include "realizar/avx512/iq4_nl.h"
#include "realizar/avx512/iq4_xs.h"
#include "realizar/avx512/mxfp4.h"
#include "realizar/avx512/nvfp4.h"
#include "realizar/avx512/ptq1_0.h"
#include "realizar/avx512/q1_0.h"
#include "realizar/avx512/q2_0.h"
#include "realizar/avx512/q2_k.h"
#include "realizar/avx512/q3_k.h"
#include "realizar/avx512/q4_0.h"
#include "realizar/avx512/q4_1.h"
#include "realizar/avx512/q4_k.h"
#include "realizar/avx512/q5_0.h"
#include "realizar/avx512/q5_1.h"
#include "realizar/avx512/q5_k.h"
#include "realizar/avx512/q6_k.h"
#include "realizar/avx512/q8_0.h"
#include "realizar/avx512/tq1_0.h"
#include "realizar/avx512/tq2_0.h"
#include "realizar/residual.h"
#include "realizar/wide/attention.h"
#include "realizar/wide/conv.h"
#include "realizar/wide/delta.h"
#include "realizar/wide/elementwise.h"
#include "realizar/wide/hadamard.h"
#include "realizar/wide/index.h"
#include "realizar/wide/logits.h"
#include "realizar/wide/low_rank.h"
#include "realizar/wide/norm.h"
#include "realizar/wide/rope.h"
#include "realizar/wide/scan.h"
#include "realizar/wide/softmax.h"
#include "realizar/wide/store.h"

const struct rz_kernels rz_avx512 = {
    .name = "avx512",

    /* dequantize, gemv, gemm, matmul_f32 */
    .format[RZ_F32] = {NULL, f32_matmul, f32_matmul, f32_matmul},
    .format[RZ_F16] = {NULL, f16_matmul, f16_matmul, f16_matmul},
    .format[RZ_BF16] = {NULL, bf16_matmul, bf16_matmul, bf16_matmul},
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
    .quantize_act_32 = quantize_act_32,
    .quantize_act_256 = quantize_act_256,
    .residual_act = residual_act,

    .rms_norm = rms_norm_f32x16,
    .layer_norm = layer_norm_f32x16,
    .add = add_f32x16,
    .mul = mul_f32x16,
    .scale = scale_f32x16,
    .clamp = clamp_row_f32x16,
    .softcap = softcap_row_f32x16,
    .hadamard = hadamard_row_f32x16,
    .silu = silu_row_f32x16,
    .gelu = gelu_row_f32x16,
    .gelu_erf = gelu_erf_row_f32x16,
    .sigmoid = sigmoid_row_f32x16,
    .relu = relu_row_f32x16,
    .softplus = softplus_row_f32x16,
    .elu = elu_row_f32x16,
    .silu_mul = silu_mul_f32x16,
    .gelu_mul = gelu_mul_f32x16,
    .gelu_erf_mul = gelu_erf_mul_f32x16,
    .swiglu_oai = swiglu_oai_f32x16,
    .softmax = softmax_f32x16,
    .rope_neox = rope_neox_f32x16,
    .rope_norm = rope_norm_f32x16,
    .conv_step = conv_step_f32x16,
    .mix = mix_f32x16,
    .scan_channels = scan_channels_f32x16,
    .scan_heads = scan_heads_f32x16,
    .decay = decay_f32x16,
    .delta_rule = delta_rule_f32x16,
    .logit_sums = logit_sums_f32x16,
    .logit_falls = logit_falls_f32x16,
    .logit_weights = logit_weights_f32x16,
    .add_product_f32 = add_product_f32x16,
    .add_product_f16 = add_product_f16x16,

    .attend = attend_f32x16,
    .attend_merge = attend_merge_f32x16,
    .index_scores = index_scores_f32x16,
    .store_k = {[RZ_KV_F16] = store_k_f16_x16, [RZ_KV_INT8] = store_k_int8_x16, [RZ_KV_Q4] = store_k_q4_x16},
    .store_v = {[RZ_KV_F16] = store_v_f16_x16, [RZ_KV_INT8] = store_v_int8_x16, [RZ_KV_Q4] = store_v_q4_x16},
};

const gemm_256_format *const rz_avx512_gemm_256[RZ_N_FORMATS] = {
    [RZ_Q2_K] = &q2_k_gemm_format,       [RZ_Q3_K] = &q3_k_gemm_format,   [RZ_Q4_K] = &q4_k_gemm_format,
    [RZ_Q5_K] = &q5_k_gemm_format,       [RZ_Q6_K] = &q6_k_gemm_format,   [RZ_IQ4_XS] = &iq4_xs_gemm_format,
    [RZ_IQ3_XXS] = &iq3_xxs_gemm_format, [RZ_IQ3_S] = &iq3_s_gemm_format, [RZ_IQ2_XXS] = &iq2_xxs_gemm_format,
    [RZ_IQ2_XS] = &iq2_xs_gemm_format,   [RZ_IQ2_S] = &iq2_s_gemm_format, [RZ_IQ1_S] = &iq1_s_gemm_format,
    [RZ_IQ1_M] = &iq1_m_gemm_format,     [RZ_TQ1_0] = &tq1_0_gemm_format, [RZ_TQ2_0] = &tq2_0_gemm_format,
};

const gemm_32_format *const rz_avx512_gemm_32[RZ_N_FORMATS] = {
    [RZ_Q4_0] = &q4_0_gemm_format,     [RZ_Q4_1] = &q4_1_gemm_format,     [RZ_Q5_0] = &q5_0_gemm_format,
    [RZ_Q5_1] = &q5_1_gemm_format,     [RZ_Q8_0] = &q8_0_gemm_format,     [RZ_MXFP4] = &mxfp4_gemm_format,
    [RZ_IQ4_NL] = &iq4_nl_gemm_format, [RZ_Q1_0] = &q1_0_gemm_format,     [RZ_Q2_0] = &q2_0_gemm_format,
    [RZ_PQ2_0] = &pq2_0_gemm_format,   [RZ_PTQ1_0] = &ptq1_0_gemm_format, [RZ_NVFP4] = &nvfp4_gemm_format,
};

RZ_TARGET_END

#endif
