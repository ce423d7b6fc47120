/* The scale of a block whose groups have whole numbers for scales: v[g] ≈ d * code[g]. */
#ifndef REALIZAR_QUANTIZE_CODES_H
#define REALIZAR_QUANTIZE_CODES_H

#include "realizar/quantize/lanes.h"

/* Returns d for n values with weights u >= 0, codes within [low, high]. Sixteen candidates, one in each lane, give the
 * value farthest from zero codes near `end`, which is low or high; each is refined by least squares. */
RZ_NOINLINE float fit_codes(const float *v, const float *u, int n, float low, float high, float end)
{
    static const float STEPS[LANES] = {0,    0.12f,  0.25f,  -0.12f, -0.25f, -0.4f,  -0.55f, -0.7f,
                                       -0.85f, -1.0f, -1.2f, -1.4f,  -1.6f,  -1.8f,  -2.1f,  -2.4f};
    float extreme = v[0];
    for (int g = 1; g < n; g++) extreme = fabsf(extreme) < fabsf(v[g]) ? v[g] : extreme;
    if (!(LEAST_RANGE < fabsf(extreme))) return 0;
    f32x16 scale = f32x16_set(high / 63), code_end = f32x16_set(fabsf(end));
    f32x16 steps = f32x16_mul(f32x16_load(STEPS), f32x16_max(scale, f32x16_set(0.25f)));
    f32x16 inverse = f32x16_div(f32x16_add(code_end, steps), f32x16_set(end < 0 ? -extreme : extreme));
    f32x16 vc = f32x16_zero(), cc = vc;
    for (int g = 0; g < n; g++) {
        f32x16 code = lanes_round(lanes_clamp(f32x16_mul(f32x16_set(v[g]), inverse), low, high));
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

/* The code of a value for a scale d that is rounded to half. */
RZ_INLINE float nearest_code(float v, float d, float low, float high)
{
    float code = fabsf(d) < LEAST_RANGE ? 0 : v / d;
    code = code > low ? code : low;
    return rintf(code < high ? code : high);
}

#endif
