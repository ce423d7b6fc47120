/* The scalar level: the definition of every kernel. Faster ISA levels give the same bits. */
#include "realizar/isa_levels.h"
#include "realizar/residual.h"
#include "realizar/scalar/act.h"
#include "realizar/scalar/attention.h"
#include "realizar/scalar/bf16.h"
#include "realizar/scalar/conv.h"
#include "realizar/scalar/delta.h"
#include "realizar/scalar/elementwise.h"
#include "realizar/scalar/f16.h"
#include "realizar/scalar/f32.h"
#include "realizar/scalar/hadamard.h"
#include "realizar/scalar/index.h"
#include "realizar/scalar/iq1_m.h"
#include "realizar/scalar/iq1_s.h"
#include "realizar/scalar/iq2_s.h"
#include "realizar/scalar/iq2_xs.h"
#include "realizar/scalar/iq2_xxs.h"
#include "realizar/scalar/iq3_s.h"
#include "realizar/scalar/iq3_xxs.h"
#include "realizar/scalar/iq4_nl.h"
#include "realizar/scalar/iq4_xs.h"
#include "realizar/scalar/logits.h"
#include "realizar/scalar/low_rank.h"
#include "realizar/scalar/mxfp4.h"
#include "realizar/scalar/norm.h"
#include "realizar/scalar/nvfp4.h"
#include "realizar/scalar/pq2_0.h"
#include "realizar/scalar/ptq1_0.h"
#include "realizar/scalar/q1_0.h"
#include "realizar/scalar/q2_0.h"
#include "realizar/scalar/q2_k.h"
#include "realizar/scalar/q3_k.h"
#include "realizar/scalar/q4_0.h"
#include "realizar/scalar/q4_1.h"
#include "realizar/scalar/q4_k.h"
#include "realizar/scalar/q5_0.h"
#include "realizar/scalar/q5_1.h"
#include "realizar/scalar/q5_k.h"
#include "realizar/scalar/q6_k.h"
#include "realizar/scalar/q8_0.h"
#include "realizar/scalar/rope.h"
#include "realizar/scalar/scan.h"
#include "realizar/scalar/softmax.h"
#include "realizar/scalar/store.h"
#include "realizar/scalar/tq1_0.h"
#include "realizar/scalar/tq2_0.h"

#define RZ_STORE_K(NAME, lower, group, bytes, lane, scale, transforms_k, transforms_v) store_k_##lower,
#define RZ_STORE_V(NAME, lower, group, bytes, lane, scale, transforms_k, transforms_v) store_v_##lower,

const struct rz_kernels rz_scalar = {
    .name = "scalar",

    /* dequantize, gemv, gemm, matmul_f32: one function is used for gemv and gemm */
    .format[RZ_F32] = {f32_dequantize, f32_matmul, f32_matmul, f32_matmul},
    .format[RZ_F16] = {f16_dequantize, f16_matmul, f16_matmul, f16_matmul},
    .format[RZ_BF16] = {bf16_dequantize, bf16_matmul, bf16_matmul, bf16_matmul},
    .format[RZ_Q4_0] = {q4_0_dequantize, q4_0_gemv, q4_0_gemv, q4_0_matmul_f32},
    .format[RZ_Q4_1] = {q4_1_dequantize, q4_1_gemv, q4_1_gemv, q4_1_matmul_f32},
    .format[RZ_Q5_0] = {q5_0_dequantize, q5_0_gemv, q5_0_gemv, q5_0_matmul_f32},
    .format[RZ_Q5_1] = {q5_1_dequantize, q5_1_gemv, q5_1_gemv, q5_1_matmul_f32},
    .format[RZ_Q8_0] = {q8_0_dequantize, q8_0_gemv, q8_0_gemv, q8_0_matmul_f32},
    .format[RZ_Q2_K] = {q2_k_dequantize, q2_k_gemv, q2_k_gemv, q2_k_matmul_f32},
    .format[RZ_Q3_K] = {q3_k_dequantize, q3_k_gemv, q3_k_gemv, q3_k_matmul_f32},
    .format[RZ_Q4_K] = {q4_k_dequantize, q4_k_gemv, q4_k_gemv, q4_k_matmul_f32},
    .format[RZ_Q5_K] = {q5_k_dequantize, q5_k_gemv, q5_k_gemv, q5_k_matmul_f32},
    .format[RZ_Q6_K] = {q6_k_dequantize, q6_k_gemv, q6_k_gemv, q6_k_matmul_f32},
    .format[RZ_MXFP4] = {mxfp4_dequantize, mxfp4_gemv, mxfp4_gemv, mxfp4_matmul_f32},
    .format[RZ_IQ4_NL] = {iq4_nl_dequantize, iq4_nl_gemv, iq4_nl_gemv, iq4_nl_matmul_f32},
    .format[RZ_IQ4_XS] = {iq4_xs_dequantize, iq4_xs_gemv, iq4_xs_gemv, iq4_xs_matmul_f32},
    .format[RZ_IQ3_XXS] = {iq3_xxs_dequantize, iq3_xxs_gemv, iq3_xxs_gemv, iq3_xxs_matmul_f32},
    .format[RZ_IQ3_S] = {iq3_s_dequantize, iq3_s_gemv, iq3_s_gemv, iq3_s_matmul_f32},
    .format[RZ_IQ2_XXS] = {iq2_xxs_dequantize, iq2_xxs_gemv, iq2_xxs_gemv, iq2_xxs_matmul_f32},
    .format[RZ_IQ2_XS] = {iq2_xs_dequantize, iq2_xs_gemv, iq2_xs_gemv, iq2_xs_matmul_f32},
    .format[RZ_IQ2_S] = {iq2_s_dequantize, iq2_s_gemv, iq2_s_gemv, iq2_s_matmul_f32},
    .format[RZ_IQ1_S] = {iq1_s_dequantize, iq1_s_gemv, iq1_s_gemv, iq1_s_matmul_f32},
    .format[RZ_IQ1_M] = {iq1_m_dequantize, iq1_m_gemv, iq1_m_gemv, iq1_m_matmul_f32},
    .format[RZ_Q1_0] = {q1_0_dequantize, q1_0_gemv, q1_0_gemv, q1_0_matmul_f32},
    .format[RZ_Q2_0] = {q2_0_dequantize, q2_0_gemv, q2_0_gemv, q2_0_matmul_f32},
    .format[RZ_PQ2_0] = {pq2_0_dequantize, pq2_0_gemv, pq2_0_gemv, pq2_0_matmul_f32},
    .format[RZ_PTQ1_0] = {ptq1_0_dequantize, ptq1_0_gemv, ptq1_0_gemv, ptq1_0_matmul_f32},
    .format[RZ_NVFP4] = {nvfp4_dequantize, nvfp4_gemv, nvfp4_gemv, nvfp4_matmul_f32},
    .format[RZ_TQ1_0] = {tq1_0_dequantize, tq1_0_gemv, tq1_0_gemv, tq1_0_matmul_f32},
    .format[RZ_TQ2_0] = {tq2_0_dequantize, tq2_0_gemv, tq2_0_gemv, tq2_0_matmul_f32},
    .quantize_act_32 = quantize_act_32,
    .quantize_act_256 = quantize_act_256,
    .residual_act = residual_act,

    .rms_norm = rms_norm_f32,
    .layer_norm = layer_norm_f32,
    .add = add_f32,
    .mul = mul_f32,
    .scale = scale_f32,
    .clamp = clamp_row_f32,
    .softcap = softcap_row_f32,
    .hadamard = hadamard_row_f32,
    .silu = silu_row_f32,
    .gelu = gelu_row_f32,
    .gelu_erf = gelu_erf_row_f32,
    .sigmoid = sigmoid_row_f32,
    .relu = relu_row_f32,
    .softplus = softplus_row_f32,
    .elu = elu_row_f32,
    .silu_mul = silu_mul_f32,
    .gelu_mul = gelu_mul_f32,
    .gelu_erf_mul = gelu_erf_mul_f32,
    .swiglu_oai = swiglu_oai_f32,
    .softmax = softmax_f32,
    .rope_neox = rope_neox_f32,
    .rope_norm = rope_norm_f32,
    .conv_step = conv_step_f32,
    .mix = mix_f32,
    .scan_channels = scan_channels_f32,
    .scan_heads = scan_heads_f32,
    .decay = decay_f32,
    .delta_rule = delta_rule_f32,
    .logit_sums = logit_sums_f32,
    .logit_falls = logit_falls_f32,
    .logit_weights = logit_weights_f32,
    .add_product_f32 = add_product_f32,
    .add_product_f16 = add_product_f16,

    .attend = attend_f32,
    .attend_merge = attend_merge_f32,
    .index_scores = index_scores_f32,
    .store_k = {RZ_KV_TYPES(RZ_STORE_K)},
    .store_v = {RZ_KV_TYPES(RZ_STORE_V)},
};
