/* The scale of a block whose groups have whole numbers for scales: v[g] ≈ d * code[g]. */
#ifndef REALIZAR_QUANTIZE_CODES_H
#define REALIZAR_QUANTIZE_CODES_H

#include "realizar/quantize/lanes.h"

/* Candidates for the code of the value farthest from zero, relative to the greatest. */
static const float CODE_STEPS[LANES] = {0,      0.12f, 0.25f, -0.12f, -0.25f, -0.4f, -0.55f, -0.7f,
                                        -0.85f, -1.0f, -1.2f, -1.4f,  -1.6f,  -1.8f, -2.1f,  -2.4f};

/* Returns d for n values with weights u >= 0. Sixteen candidates, one in each lane, give the value farthest from zero
 * codes near `end`; each is refined by least squares. Codes are within [low, high], or, if is_odd, 1, 3, ... high. */
RZ_NOINLINE float fit_codes_of(const float *v, const float *u, int n, float low, float high, float end, int is_odd)
{
    float extreme = v[0];
    for (int g = 1; g < n; g++) extreme = fabsf(extreme) < fabsf(v[g]) ? v[g] : extreme;
    if (!(LEAST_RANGE < fabsf(extreme))) return 0;
    f32x16 spacing = f32x16_set(is_odd ? 2 : high < 16 ? 0.25f : high / 63);
    f32x16 steps = f32x16_mul(f32x16_load(CODE_STEPS), spacing), one = f32x16_set(1), two = f32x16_set(2);
    f32x16 inverse = f32x16_div(f32x16_add(f32x16_set(fabsf(end)), steps), f32x16_set(end < 0 ? -extreme : extreme));
    f32x16 vc = f32x16_zero(), cc = vc;
    for (int g = 0; g < n; g++) {
        f32x16 code = lanes_clamp(f32x16_mul(f32x16_set(v[g]), inverse), low, high);
        code = is_odd ? f32x16_add(f32x16_mul(lanes_round(f32x16_div(f32x16_sub(code, one), two)), two), one)
                      : lanes_round(code);
        f32x16 uc = f32x16_mul(f32x16_set(u[g]), code);
        vc = f32x16_add(vc, f32x16_mul(uc, f32x16_set(v[g])));
        cc = f32x16_add(cc, f32x16_mul(uc, code));
    }
    float d[LANES], gain[LANES];
    f32x16 ratio = lanes_ratio(vc, cc);
    f32x16_store(d, ratio);
    f32x16_store(gain, f32x16_mul(ratio, vc));
    int best = 0;
    for (int k = 1; k < LANES; k++) best = gain[best] < gain[k] ? k : best;
    return d[best];
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
