/* exp, tanh, silu and gelu on sixteen lanes: the operations of scalar/math.h in their order. */
#ifndef REALIZAR_WIDE_MATH_H
#define REALIZAR_WIDE_MATH_H

#include "realizar/scalar/math.h"

RZ_INLINE f32x16 exp_f32x16(f32x16 x)
{
    x = f32x16_max(f32x16_set(RZ_EXP_MIN), x);
    x = f32x16_min(f32x16_set(RZ_EXP_MAX), x);
    f32x16 shifter = f32x16_set(RZ_EXP_SHIFTER);
    f32x16 n = f32x16_sub(f32x16_fma(x, f32x16_set(RZ_INV_LN2), shifter), shifter);
    f32x16 r = f32x16_fma(n, f32x16_set(-RZ_LN2_LOW), f32x16_fma(n, f32x16_set(-RZ_LN2), x));
    f32x16 q = f32x16_fma(r, f32x16_set(RZ_EXP_Q4), f32x16_set(RZ_EXP_Q3));
    q = f32x16_fma(q, r, f32x16_set(RZ_EXP_Q2));
    q = f32x16_fma(q, r, f32x16_set(RZ_EXP_Q1));
    q = f32x16_fma(q, r, f32x16_set(RZ_EXP_Q0));
    f32x16 p = f32x16_add(f32x16_fma(q, f32x16_mul(r, r), r), f32x16_set(1));
    return f32x16_ldexp(p, n);
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

#endif
