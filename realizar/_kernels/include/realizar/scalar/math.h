/* exp, softplus, tanh, sigmoid, silu, gelu and rounding to half precision, defined to the last bit. */
#ifndef REALIZAR_SCALAR_MATH_H
#define REALIZAR_SCALAR_MATH_H

#include <math.h>

#include "realizar/scalar/half.h"

/* exp(x) = 2^n * exp(r), n = round(x / ln 2), |r| <= ln(2) / 2, and exp(r) = 1 + r + r^2 * q(r) with q fitted to a
 * relative error of 3e-9. Adding the shifter rounds to an integer and leaves it in the low bits. Beyond the bounds the
 * result is 0 or Inf. ln 2 and 1 / ln 2 are rounded to float; LOW is the rounding error of ln 2. */
#define RZ_EXP_MIN (-106.0f)
#define RZ_EXP_MAX 89.0f
#define RZ_EXP_SHIFTER 0x1.8p23f
#define RZ_INV_LN2 0x1.715476p+0f
#define RZ_LN2 0x1.62e43p-1f
#define RZ_LN2_LOW (-0x1.05c61p-29f)
#define RZ_EXP_Q0 0x1.fffffcp-2f
#define RZ_EXP_Q1 0x1.555492p-3f
#define RZ_EXP_Q2 0x1.5558f2p-5f
#define RZ_EXP_Q3 0x1.1239e2p-7f
#define RZ_EXP_Q4 0x1.6a2438p-10f

/* 2^n for n in [-126, 127]; arbitrary bits for other n. */
static inline float exp2_int(int32_t n) { return rz_bits_to_f32(((uint32_t)n + 127) << 23); }

/* Within 1 ulp; denormal results are rounded once; exp(-Inf) = 0, NaN stays. */
static inline float exp_f32(float x)
{
    x = RZ_EXP_MIN > x ? RZ_EXP_MIN : x;
    x = RZ_EXP_MAX < x ? RZ_EXP_MAX : x;
    float shifted = fmaf(x, RZ_INV_LN2, RZ_EXP_SHIFTER);
    float n = shifted - RZ_EXP_SHIFTER;
    float r = fmaf(n, -RZ_LN2_LOW, fmaf(n, -RZ_LN2, x));
    float q = fmaf(r, RZ_EXP_Q4, RZ_EXP_Q3);
    q = fmaf(q, r, RZ_EXP_Q2);
    q = fmaf(q, r, RZ_EXP_Q1);
    q = fmaf(q, r, RZ_EXP_Q0);
    float p = fmaf(q, r * r, r) + 1;
    /* In two steps, since 2^n alone may be out of range; the first is exact. */
    int32_t exponent = (int32_t)(rz_f32_to_bits(shifted) - rz_f32_to_bits(RZ_EXP_SHIFTER));
    int32_t half = exponent >> 1;
    return p * exp2_int(half) * exp2_int(exponent - half);
}

/* ln(1 + exp(x)) = max(x, 0) + ln(1 + z), z = exp(-|x|), and ln(1 + z) = z * p(z) with p fitted on [0, 1] to a relative
 * error of 5e-9. */
#define RZ_LOG1P_0 0x1p+0f
#define RZ_LOG1P_1 (-0x1.ffffbep-2f)
#define RZ_LOG1P_2 0x1.554c8p-2f
#define RZ_LOG1P_3 (-0x1.ff0f88p-3f)
#define RZ_LOG1P_4 0x1.92f696p-3f
#define RZ_LOG1P_5 (-0x1.39756p-3f)
#define RZ_LOG1P_6 0x1.b25358p-4f
#define RZ_LOG1P_7 (-0x1.d29cbap-5f)
#define RZ_LOG1P_8 0x1.453efep-6f
#define RZ_LOG1P_9 (-0x1.a9334ap-9f)

/* Within 3 ulp; NaN stays. */
static inline float softplus_f32(float x)
{
    float z = exp_f32(-fabsf(x)), p = fmaf(RZ_LOG1P_9, z, RZ_LOG1P_8);
    p = fmaf(p, z, RZ_LOG1P_7);
    p = fmaf(p, z, RZ_LOG1P_6);
    p = fmaf(p, z, RZ_LOG1P_5);
    p = fmaf(p, z, RZ_LOG1P_4);
    p = fmaf(p, z, RZ_LOG1P_3);
    p = fmaf(p, z, RZ_LOG1P_2);
    p = fmaf(p, z, RZ_LOG1P_1);
    p = fmaf(p, z, RZ_LOG1P_0);
    return fmaf(p, z, x > 0 ? x : 0);
}

/* Below RZ_TANH_SMALL an odd polynomial (coefficients: S. L. Moshier, Cephes, tanhf.c), above it by exp. */
#define RZ_TANH_SMALL 0.625f
#define RZ_TANH_P0 (-3.33332819422e-1f)
#define RZ_TANH_P1 1.33314422036e-1f
#define RZ_TANH_P2 (-5.37397155531e-2f)
#define RZ_TANH_P3 2.06390887954e-2f
#define RZ_TANH_P4 (-5.70498872745e-3f)

/* Within 2 ulp; NaN stays. */
static inline float tanh_f32(float x)
{
    float z = fabsf(x);
    float large = 1 - 2 / (exp_f32(z + z) + 1);
    float x2 = x * x;
    float p = fmaf(RZ_TANH_P4, x2, RZ_TANH_P3);
    p = fmaf(p, x2, RZ_TANH_P2);
    p = fmaf(p, x2, RZ_TANH_P1);
    p = fmaf(p, x2, RZ_TANH_P0);
    return z < RZ_TANH_SMALL ? fmaf(p * x2, x, x) : copysignf(large, x);
}

static inline float sigmoid_f32(float x) { return 1 / (1 + exp_f32(-x)); }

/* max(x, 0); NaN stays. */
static inline float relu_f32(float x) { return x < 0 ? 0 : x; }

/* x squeezed into (-cap, cap). */
static inline float softcap_f32(float x, float cap) { return cap * tanh_f32(x / cap); }

/* x * sigmoid(x). */
static inline float silu_f32(float x) { return x / (1 + exp_f32(-x)); }

/* 0.5 x (1 + tanh(u)), u = sqrt(2 / pi) (x + 0.044715 x^3) (D. Hendrycks, K. Gimpel, Gaussian Error Linear Units,
 * 2016), as x * sigmoid(2 u): nothing cancels where tanh nears -1. The constants are -2 sqrt(2 / pi) and 0.044715 times
 * it. */
#define RZ_GELU_1 (-1.5957691216057308f)
#define RZ_GELU_3 (-0.07135481282730225f)

static inline float gelu_f32(float x) { return x / (1 + exp_f32(x * fmaf(x * x, RZ_GELU_3, RZ_GELU_1))); }

/* 0.5 x (1 + erf(x / sqrt(2))) = max(x, 0) - u Q(u), u = |x|, Q the upper tail of the normal distribution: nothing
 * cancels for x < 0. u Q(u) = exp(-u^2 / 2) t P(t), t = u / (u + 3.75), with P fitted to a relative error of 1.5e-8 on
 * [0, 14]; the coefficients are those of -P. Beyond 16 the tail is 0 in float. */
#define RZ_GELU_ERF_MAX 16.0f
#define RZ_GELU_ERF_SHIFT 3.75f
#define RZ_GELU_ERF_P0 (-0x1.ep+0f)
#define RZ_GELU_ERF_P1 0x1.de18cap+1f
#define RZ_GELU_ERF_P2 (-0x1.eb555ap+1f)
#define RZ_GELU_ERF_P3 0x1.b470e4p+0f
#define RZ_GELU_ERF_P4 0x1.2444b4p-2f
#define RZ_GELU_ERF_P5 (-0x1.8bf124p-2f)
#define RZ_GELU_ERF_P6 (-0x1.32b864p-2f)
#define RZ_GELU_ERF_P7 0x1.8e316cp-2f
#define RZ_GELU_ERF_P8 (-0x1.d0fdcp-4f)

/* Relative error below 5e-7 for x > -4, and absolute below 1e-10 under it; NaN stays. */
static inline float gelu_erf_f32(float x)
{
    float u = RZ_GELU_ERF_MAX < fabsf(x) ? RZ_GELU_ERF_MAX : fabsf(x);
    float t = u / (u + RZ_GELU_ERF_SHIFT);
    float p = fmaf(RZ_GELU_ERF_P8, t, RZ_GELU_ERF_P7);
    p = fmaf(p, t, RZ_GELU_ERF_P6);
    p = fmaf(p, t, RZ_GELU_ERF_P5);
    p = fmaf(p, t, RZ_GELU_ERF_P4);
    p = fmaf(p, t, RZ_GELU_ERF_P3);
    p = fmaf(p, t, RZ_GELU_ERF_P2);
    p = fmaf(p, t, RZ_GELU_ERF_P1);
    p = fmaf(p, t, RZ_GELU_ERF_P0);
    return fmaf(p * t, exp_f32(u * (u * -0.5f)), x > 0 ? x : 0);
}

/* gpt-oss's gate (https://arxiv.org/abs/2508.10925): g sigmoid(alpha g) (u + 1), with g at most and u within a limit. */
#define RZ_OAI_ALPHA 1.702f
#define RZ_OAI_LIMIT 7.0f

static inline float swiglu_oai_of_f32(float gate, float up)
{
    gate = RZ_OAI_LIMIT < gate ? RZ_OAI_LIMIT : gate;
    up = RZ_OAI_LIMIT < up ? RZ_OAI_LIMIT : up;
    up = -RZ_OAI_LIMIT > up ? -RZ_OAI_LIMIT : up;
    return gate / (1 + exp_f32(gate * -RZ_OAI_ALPHA)) * (up + 1);
}

/* Round to nearest even; overflow to Inf; every NaN becomes the same quiet one. */
static inline uint16_t rz_f32_to_f16(float x)
{
    uint32_t bits = rz_f32_to_bits(x), sign = bits >> 16 & 0x8000, size = bits & 0x7fffffff;
    if (size > 0x7f800000) return (uint16_t)(sign | 0x7e00);
    if (size >= 0x47800000) /* 65536 */
        return (uint16_t)(sign | 0x7c00);
    if (size < 0x38800000) /* 2^-14: adding 0.5, whose ulp is the least half denormal, rounds there */
        return (uint16_t)(sign | (rz_f32_to_bits(rz_bits_to_f32(size) + 0.5f) - rz_f32_to_bits(0.5f)));
    uint32_t rebased = size - (112u << 23);
    return (uint16_t)(sign | (rebased + 0xfff + (rebased >> 13 & 1)) >> 13);
}

#endif
