/* The scale of a block whose groups have whole numbers for scales: v[g] ≈ d * code[g]. */
#ifndef REALIZAR_QUANTIZE_CODES_H
#define REALIZAR_QUANTIZE_CODES_H

#include "realizar/quantize/lanes.h"

/* Candidates for the code of the value farthest from zero, relative to the greatest. */
static const float CODE_STEPS[LANES] = {0,      0.12f, 0.25f, -0.12f, -0.25f, -0.4f, -0.55f, -0.7f,
                                        -0.85f, -1.0f, -1.2f, -1.4f,  -1.6f,  -1.8f, -2.1f,  -2.4f};

/* How many times the code that it has at the best d so far the value that counts most may get. */
static const float CODE_TIMES[LANES] = {0.95f, 1.05f, 1.1f, 1.2f, 1.35f, 1.5f, 1.75f, 2, 2.5f, 3, 4, 5, 7, 10, 15, 25};

/* n values with weights u >= 0, and their codes: within [low, high], or, if is_odd, 1, 3, ... high. */
typedef struct {
    const float *v, *u;
    int n, is_odd;
    float low, high, d, error; /* the best d so far, and its squared error */
} code_fit;

RZ_INLINE f32x16 fit_codes_round(const code_fit *fit, f32x16 v, f32x16 inverse)
{
    f32x16 code = lanes_clamp(f32x16_mul(v, inverse), fit->low, fit->high), one = f32x16_set(1),
           half = f32x16_set(0.5f);
    if (!fit->is_odd) return lanes_round(code);
    code = lanes_round(f32x16_mul(f32x16_sub(code, one), half));
    return f32x16_add(f32x16_add(code, code), one);
}

/* Tries sixteen candidates for 1 / d, one in each lane: each is refined by least squares, then rounded to half, which may
 * be by much where it is small. */
RZ_NOINLINE void fit_codes_try(code_fit *fit, f32x16 inverse)
{
    f32x16 vc = f32x16_zero(), cc = vc, sum = vc;
    for (int g = 0; g < fit->n; g++) {
        f32x16 v = f32x16_set(fit->v[g]), code = fit_codes_round(fit, v, inverse);
        f32x16 uc = f32x16_mul(f32x16_set(fit->u[g]), code);
        vc = f32x16_add(vc, f32x16_mul(uc, v));
        cc = f32x16_add(cc, f32x16_mul(uc, code));
    }
    float d[LANES], inverses[LANES], error[LANES];
    f32x16_store(d, lanes_ratio(vc, cc));
    for (int k = 0; k < LANES; k++) {
        float seen = rz_f16_to_f32(rz_f32_to_f16(d[k]));
        d[k] = isfinite(seen) ? seen : d[k]; /* if it is the best, the caller finds that it is too large */
        inverses[k] = fabsf(d[k]) < LEAST_RANGE ? 0 : 1 / d[k];
    }
    for (int g = 0; g < fit->n; g++) {
        f32x16 v = f32x16_set(fit->v[g]), code = fit_codes_round(fit, v, f32x16_load(inverses));
        f32x16 difference = f32x16_sub(v, f32x16_mul(f32x16_load(d), code));
        sum = f32x16_add(sum, f32x16_mul(f32x16_set(fit->u[g]), f32x16_mul(difference, difference)));
    }
    f32x16_store(error, sum);
    for (int k = 0; k < LANES; k++)
        if (error[k] < fit->error) fit->d = d[k], fit->error = error[k];
}

/* Returns d, rounded to half, for n values with weights u >= 0; unrounded if it is too large. Candidates give the value
 * farthest from zero codes near `end`; then, if another counts more, give that one up to many times the code that it has:
 * the others may matter less. */
RZ_NOINLINE float fit_codes_of(const float *v, const float *u, int n, float low, float high, float end, int is_odd)
{
    float extreme = v[0], counts_most = v[0], most = u[0] * v[0] * v[0];
    for (int g = 1; g < n; g++) {
        float error = u[g] * v[g] * v[g];
        if (fabsf(extreme) < fabsf(v[g])) extreme = v[g];
        if (most < error) most = error, counts_most = v[g];
    }
    if (!(LEAST_RANGE < fabsf(extreme))) return 0;
    f32x16 spacing = f32x16_set(is_odd ? 2 : high < 16 ? 0.25f : high / 63);
    f32x16 codes = f32x16_add(f32x16_set(fabsf(end)), f32x16_mul(f32x16_load(CODE_STEPS), spacing));
    float at_end = end < 0 ? -extreme : extreme;
    code_fit fit = {v, u, n, is_odd, low, high, at_end / fabsf(end), INFINITY};
    fit_codes_try(&fit, f32x16_div(codes, f32x16_set(at_end)));
    float size = fabsf(counts_most), code = fabsf(counts_most / fit.d);
    if (size < fabsf(extreme) && LEAST_RANGE < size && fit.d != 0) {
        float inverse = (code > 1 ? code : 1) / (fit.d < 0 ? -size : size);
        fit_codes_try(&fit, f32x16_mul(f32x16_load(CODE_TIMES), f32x16_set(inverse)));
    }
    return fit.d;
}

RZ_INLINE float fit_codes(const float *v, const float *u, int n, float low, float high, float end)
{
    return fit_codes_of(v, u, n, low, high, end, 0);
}

/* Codes 1, 3, ... 31. */
RZ_INLINE float fit_odd_codes(const float *v, const float *u, int n) { return fit_codes_of(v, u, n, 1, 31, 31, 1); }

/* The code of a value for a scale d that is rounded to half. */
RZ_INLINE float nearest_code(float v, float d, float low, float high)
{
    float code = fabsf(d) < LEAST_RANGE ? 0 : v / d;
    code = code > low ? code : low;
    return rintf(code < high ? code : high);
}

#endif
