/* The scalar tier: what every kernel means. Faster tiers give the same bits. */
#include "realizar/scalar/act.h"
#include "realizar/scalar/bf16.h"
#include "realizar/scalar/f16.h"
#include "realizar/scalar/f32.h"
#include "realizar/scalar/q4_0.h"
#include "realizar/scalar/q4_1.h"
#include "realizar/scalar/q4_k.h"
#include "realizar/scalar/q5_0.h"
#include "realizar/scalar/q5_1.h"
#include "realizar/scalar/q5_k.h"
#include "realizar/scalar/q6_k.h"
#include "realizar/scalar/q8_0.h"
#include "realizar/tiers.h"

const struct rz_kernels rz_scalar = {
    .name = "scalar",

    /* dequantize, gemv, gemm, matmul_f32: one product serves both shapes here */
    .format[RZ_F32] = {f32_dequantize, f32_matmul, f32_matmul, f32_matmul},
    .format[RZ_F16] = {f16_dequantize, f16_matmul, f16_matmul, f16_matmul},
    .format[RZ_BF16] = {bf16_dequantize, bf16_matmul, bf16_matmul, bf16_matmul},
    .format[RZ_Q4_0] = {q4_0_dequantize, q4_0_gemv, q4_0_gemv, q4_0_matmul_f32},
    .format[RZ_Q4_1] = {q4_1_dequantize, q4_1_gemv, q4_1_gemv, q4_1_matmul_f32},
    .format[RZ_Q5_0] = {q5_0_dequantize, q5_0_gemv, q5_0_gemv, q5_0_matmul_f32},
    .format[RZ_Q5_1] = {q5_1_dequantize, q5_1_gemv, q5_1_gemv, q5_1_matmul_f32},
    .format[RZ_Q8_0] = {q8_0_dequantize, q8_0_gemv, q8_0_gemv, q8_0_matmul_f32},
    .format[RZ_Q4_K] = {q4_k_dequantize, q4_k_gemv, q4_k_gemv, q4_k_matmul_f32},
    .format[RZ_Q5_K] = {q5_k_dequantize, q5_k_gemv, q5_k_gemv, q5_k_matmul_f32},
    .format[RZ_Q6_K] = {q6_k_dequantize, q6_k_gemv, q6_k_gemv, q6_k_matmul_f32},
    .quantize_act_32 = quantize_act_32,
    .quantize_act_256 = quantize_act_256,
};
