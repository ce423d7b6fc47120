/* cos and sin for rope: of float angles, in double precision, with our own range reduction and polynomials. */
#ifndef REALIZAR_SCALAR_ROPE_TABLE_H
#define REALIZAR_SCALAR_ROPE_TABLE_H

#include <math.h>
#include <stdint.h>
#include <string.h>

/* pi / 2 as a double, and its rounding error. */
#define RZ_HALF_PI 0x1.921fb54442d18p+0
#define RZ_HALF_PI_LOW 0x1.1a62633145c07p-54
#define RZ_INV_HALF_PI 0x1.45f306dc9c883p-1
#define RZ_ROUND_SHIFTER 0x1.8p52

/* sin(r), |r| <= pi / 4 (coefficients: fdlibm, k_sin.c). */
static inline double sin_reduced(double r)
{
    double z = r * r;
    double p = fma(1.58969099521155010221e-10, z, -2.50507602534068634195e-08);
    p = fma(p, z, 2.75573137070700676789e-06);
    p = fma(p, z, -1.98412698298579493134e-04);
    p = fma(p, z, 8.33333333332248946124e-03);
    p = fma(p, z, -1.66666666666666324348e-01);
    return fma(p * z, r, r);
}

/* cos(r), |r| <= pi / 4 (coefficients: fdlibm, k_cos.c). */
static inline double cos_reduced(double r)
{
    double z = r * r;
    double p = fma(-1.13596475577881948265e-11, z, 2.08757232129817482790e-09);
    p = fma(p, z, -2.75573143513906633035e-07);
    p = fma(p, z, 2.48015872894767294178e-05);
    p = fma(p, z, -1.38888888888741095749e-03);
    p = fma(p, z, 4.16666666666666019037e-02);
    return fma(p * z, z, fma(-0.5, z, 1));
}

/* Both at once, accurate to float rounding for |angle| < 2^31. The first step of the reduction is exact: angle has 24
 * bits, and the remainder is a multiple of the ulp of RZ_HALF_PI and less than 1. */
static inline void sincos_f32(float angle, float *sin, float *cos)
{
    double x = (double)angle;
    double shifted = fma(x, RZ_INV_HALF_PI, RZ_ROUND_SHIFTER);
    double n = shifted - RZ_ROUND_SHIFTER;
    double r = fma(n, -RZ_HALF_PI_LOW, fma(n, -RZ_HALF_PI, x));
    uint64_t quadrant;
    memcpy(&quadrant, &shifted, sizeof quadrant);
    double s = sin_reduced(r), c = cos_reduced(r);
    double turned_s = quadrant & 1 ? c : s, turned_c = quadrant & 1 ? s : c;
    *sin = (float)(quadrant & 2 ? -turned_s : turned_s);
    *cos = (float)((quadrant + 1) & 2 ? -turned_c : turned_c);
}

/* cos[i] and sin[i] of position * inv_freq[i] (a product of floats, as in transformers), times mscale. */
static inline void rope_table_f32(const float *inv_freq, size_t half, float position, float mscale, float *cos,
                                  float *sin)
{
    for (size_t i = 0; i < half; i++) {
        sincos_f32(position * inv_freq[i], &sin[i], &cos[i]);
        sin[i] *= mscale;
        cos[i] *= mscale;
    }
}

#endif
