/* exp, softplus, tanh, sigmoid, silu and gelu on sixteen lanes: the operations of scalar/math.h in their order. */
#ifndef REALIZAR_WIDE_MATH_H
#define REALIZAR_WIDE_MATH_H

#include "realizar/scalar/math.h"

enum { EXP_IN_STEP = 4 };

/* n registers in lockstep, at most EXP_IN_STEP, so that a core can overlap n dependency chains; no lane is above
 * RZ_EXP_MAX. */
RZ_INLINE void exp_in_step(f32x16 *x, int n)
{
    const f32x16 shifter = f32x16_set(RZ_EXP_SHIFTER);
    f32x16 exponent[EXP_IN_STEP], q[EXP_IN_STEP];
    for (int i = 0; i < n; i++) x[i] = f32x16_max(f32x16_set(RZ_EXP_MIN), x[i]);
    for (int i = 0; i < n; i++) exponent[i] = f32x16_fma(x[i], f32x16_set(RZ_INV_LN2), shifter);
    for (int i = 0; i < n; i++) exponent[i] = f32x16_sub(exponent[i], shifter);
    for (int i = 0; i < n; i++) x[i] = f32x16_fma(exponent[i], f32x16_set(-RZ_LN2), x[i]);
    for (int i = 0; i < n; i++) x[i] = f32x16_fma(exponent[i], f32x16_set(-RZ_LN2_LOW), x[i]);
    for (int i = 0; i < n; i++) q[i] = f32x16_fma(x[i], f32x16_set(RZ_EXP_Q4), f32x16_set(RZ_EXP_Q3));
    for (int i = 0; i < n; i++) q[i] = f32x16_fma(q[i], x[i], f32x16_set(RZ_EXP_Q2));
    for (int i = 0; i < n; i++) q[i] = f32x16_fma(q[i], x[i], f32x16_set(RZ_EXP_Q1));
    for (int i = 0; i < n; i++) q[i] = f32x16_fma(q[i], x[i], f32x16_set(RZ_EXP_Q0));
    for (int i = 0; i < n; i++) x[i] = f32x16_fma(q[i], f32x16_mul(x[i], x[i]), x[i]);
    for (int i = 0; i < n; i++) x[i] = f32x16_ldexp(f32x16_add(x[i], f32x16_set(1)), exponent[i]);
}

RZ_INLINE f32x16 exp_f32x16(f32x16 x)
{
    x = f32x16_min(f32x16_set(RZ_EXP_MAX), x);
    exp_in_step(&x, 1);
    return x;
}

RZ_INLINE f32x16 softplus_f32x16(f32x16 x)
{
    f32x16 z = exp_f32x16(f32x16_copysign(f32x16_abs(x), f32x16_set(-1)));
    f32x16 p = f32x16_fma(f32x16_set(RZ_LOG1P_9), z, f32x16_set(RZ_LOG1P_8));
    p = f32x16_fma(p, z, f32x16_set(RZ_LOG1P_7));
    p = f32x16_fma(p, z, f32x16_set(RZ_LOG1P_6));
    p = f32x16_fma(p, z, f32x16_set(RZ_LOG1P_5));
    p = f32x16_fma(p, z, f32x16_set(RZ_LOG1P_4));
    p = f32x16_fma(p, z, f32x16_set(RZ_LOG1P_3));
    p = f32x16_fma(p, z, f32x16_set(RZ_LOG1P_2));
    p = f32x16_fma(p, z, f32x16_set(RZ_LOG1P_1));
    p = f32x16_fma(p, z, f32x16_set(RZ_LOG1P_0));
    return f32x16_fma(p, z, f32x16_max(x, f32x16_zero()));
}

RZ_INLINE f32x16 tanh_f32x16(f32x16 x)
{
    f32x16 z = f32x16_abs(x), one = f32x16_set(1);
    f32x16 e = exp_f32x16(f32x16_add(z, z));
    f32x16 large = f32x16_sub(one, f32x16_div(f32x16_set(2), f32x16_add(e, one)));
    f32x16 x2 = f32x16_mul(x, x);
    f32x16 p = f32x16_fma(f32x16_set(RZ_TANH_P4), x2, f32x16_set(RZ_TANH_P3));
    p = f32x16_fma(p, x2, f32x16_set(RZ_TANH_P2));
    p = f32x16_fma(p, x2, f32x16_set(RZ_TANH_P1));
    p = f32x16_fma(p, x2, f32x16_set(RZ_TANH_P0));
    f32x16 small = f32x16_fma(f32x16_mul(p, x2), x, x);
    return f32x16_if_less(z, f32x16_set(RZ_TANH_SMALL), small, f32x16_copysign(large, x));
}

RZ_INLINE f32x16 sigmoid_f32x16(f32x16 x)
{
    f32x16 e = exp_f32x16(f32x16_mul(x, f32x16_set(-1)));
    return f32x16_div(f32x16_set(1), f32x16_add(f32x16_set(1), e));
}

RZ_INLINE f32x16 relu_f32x16(f32x16 x) { return f32x16_if_less(x, f32x16_zero(), f32x16_zero(), x); }

RZ_INLINE f32x16 softcap_f32x16(f32x16 x, f32x16 cap) { return f32x16_mul(cap, tanh_f32x16(f32x16_div(x, cap))); }

RZ_INLINE f32x16 silu_f32x16(f32x16 x)
{
    f32x16 e = exp_f32x16(f32x16_mul(x, f32x16_set(-1)));
    return f32x16_div(x, f32x16_add(f32x16_set(1), e));
}

RZ_INLINE f32x16 gelu_f32x16(f32x16 x)
{
    f32x16 u = f32x16_fma(f32x16_mul(x, x), f32x16_set(RZ_GELU_3), f32x16_set(RZ_GELU_1));
    return f32x16_div(x, f32x16_add(f32x16_set(1), exp_f32x16(f32x16_mul(x, u))));
}

RZ_INLINE f32x16 gelu_erf_f32x16(f32x16 x)
{
    f32x16 u = f32x16_min(f32x16_set(RZ_GELU_ERF_MAX), f32x16_abs(x));
    f32x16 t = f32x16_div(u, f32x16_add(u, f32x16_set(RZ_GELU_ERF_SHIFT)));
    f32x16 p = f32x16_fma(f32x16_set(RZ_GELU_ERF_P8), t, f32x16_set(RZ_GELU_ERF_P7));
    p = f32x16_fma(p, t, f32x16_set(RZ_GELU_ERF_P6));
    p = f32x16_fma(p, t, f32x16_set(RZ_GELU_ERF_P5));
    p = f32x16_fma(p, t, f32x16_set(RZ_GELU_ERF_P4));
    p = f32x16_fma(p, t, f32x16_set(RZ_GELU_ERF_P3));
    p = f32x16_fma(p, t, f32x16_set(RZ_GELU_ERF_P2));
    p = f32x16_fma(p, t, f32x16_set(RZ_GELU_ERF_P1));
    p = f32x16_fma(p, t, f32x16_set(RZ_GELU_ERF_P0));
    f32x16 e = exp_f32x16(f32x16_mul(u, f32x16_mul(u, f32x16_set(-0.5f))));
    return f32x16_fma(f32x16_mul(p, t), e, f32x16_max(x, f32x16_zero()));
}

RZ_INLINE f32x16 swiglu_oai_of_f32x16(f32x16 gate, f32x16 up)
{
    const f32x16 limit = f32x16_set(RZ_OAI_LIMIT);
    gate = f32x16_min(limit, gate);
    up = f32x16_max(f32x16_set(-RZ_OAI_LIMIT), f32x16_min(limit, up));
    f32x16 e = exp_f32x16(f32x16_mul(gate, f32x16_set(-RZ_OAI_ALPHA)));
    return f32x16_mul(f32x16_div(gate, f32x16_add(f32x16_set(1), e)), f32x16_add(up, f32x16_set(1)));
}

#endif
