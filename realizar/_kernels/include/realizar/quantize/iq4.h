/* IQ4_NL and IQ4_XS: groups of 32, each element one of sixteen values that lie closer around zero.
 *
 * To given values the best scale is xv / vv; the search is that of symmetric.h with the extreme near -127. */
#ifndef REALIZAR_QUANTIZE_IQ4_H
#define REALIZAR_QUANTIZE_IQ4_H

#include "realizar/codebooks.h"
#include "realizar/quantize/blocks32.h"
#include "realizar/quantize/codes.h"

static const float IQ4_VALUES[16] = {RZ_IQ4_VALUES};

/* The nearest of the values, or its index: the sum of the steps whose middles are below. */
RZ_INLINE f32x16 iq4_nearest(f32x16 x, int as_index)
{
    f32x16 zero = f32x16_zero(), found = f32x16_set(as_index ? 0 : IQ4_VALUES[0]);
    for (int i = 1; i < 16; i++) {
        f32x16 middle = f32x16_set((IQ4_VALUES[i - 1] + IQ4_VALUES[i]) / 2);
        f32x16 step = f32x16_set(as_index ? 1 : IQ4_VALUES[i] - IQ4_VALUES[i - 1]);
        found = f32x16_add(found, f32x16_if_less(middle, x, step, zero));
    }
    return found;
}

RZ_NOINLINE void iq4_try(const lane_groups *in, const f32x16 *step, symmetric_fit *out)
{
    f32x16 xv = f32x16_zero(), vv = xv;
    for (int i = 0; i < 32; i++) {
        f32x16 v = iq4_nearest(f32x16_mul(in->x[i], *step), 0), wv = f32x16_mul(in->w[i], v);
        xv = f32x16_add(xv, f32x16_mul(wv, in->x[i]));
        vv = f32x16_add(vv, f32x16_mul(wv, v));
    }
    *out = (symmetric_fit){lanes_ratio(xv, vv), xv, vv};
}

/* The extreme is tried at -127 plus steps, and at 113 plus steps; then two rounds of rounding and solving. */
RZ_NOINLINE void iq4_search(const lane_groups *in, symmetric_fit *best)
{
    static const float AT[] = {-134, -131, -127, -124, -121, -117, -113, 106, 113, 119};
    f32x16 zero = f32x16_zero(), over_extreme = symmetric_step(lanes_extreme(in->x, 32));
    *best = (symmetric_fit){zero, zero, zero};
    for (size_t k = 0; k < sizeof AT / sizeof *AT; k++) {
        symmetric_fit fit;
        f32x16 step = f32x16_mul(f32x16_set(AT[k]), over_extreme);
        iq4_try(in, &step, &fit);
        symmetric_keep_better(best, &fit);
    }
    for (int k = 0; k < 2; k++) {
        symmetric_fit fit;
        f32x16 step = symmetric_step(best->s);
        iq4_try(in, &step, &fit);
        symmetric_keep_better(best, &fit);
    }
}

/* The indices of each group for given scales. */
RZ_NOINLINE void iq4_round(const lane_groups *in, const float *scales, uint8_t *codes)
{
    f32x16 q[32], step = symmetric_step(f32x16_load(scales));
    for (int i = 0; i < 32; i++) q[i] = iq4_nearest(f32x16_mul(in->x[i], step), 1);
    lanes_store_codes(q, 32, 0, codes);
}

static int quantize_iq4_nl(const float *x, const float *w, size_t k, void *out)
{
    rz_block_iq4_nl *to = out;
    int overflow = 0;
    size_t n_block = k / 32;
    for (size_t b = 0; b < n_block; b += LANES) {
        size_t n_here = n_block - b < LANES ? n_block - b : LANES;
        lane_groups in;
        symmetric_fit fit;
        float s[LANES];
        uint16_t d[LANES];
        uint8_t codes[LANES * 32];
        load_blocks(x + 32 * b, w ? w + 32 * b : NULL, 32, n_here, 32, &in);
        iq4_search(&in, &fit);
        f32x16_store(s, fit.s);
        for (int g = 0; g < LANES; g++) s[g] = half_scale(s[g], &d[g], &overflow);
        iq4_round(&in, s, codes);
        for (size_t i = 0; i < n_here; i++) {
            to[b + i].d = d[i];
            pack_nibbles(codes + 32 * i, to[b + i].qs);
        }
    }
    return overflow;
}

/* The scale of a block of eight groups and their codes; s becomes what a reader will see. */
RZ_NOINLINE void iq4_xs_scales(float *s, const float *by_s, rz_block_iq4_xs *to, int *overflow)
{
    float d = half_scale(fit_codes(s, by_s, 8, -32, 31, -32), &to->d, overflow);
    to->scales_h = 0;
    memset(to->scales_l, 0, sizeof to->scales_l);
    for (int g = 0; g < 8; g++) {
        float code = nearest_code(s[g], d, -32, 31);
        unsigned stored = (unsigned)((int)code + 32);
        s[g] = d * code;
        to->scales_l[g / 2] |= (uint8_t)((stored & 15) << g % 2 * 4);
        to->scales_h |= (uint16_t)(stored >> 4 << 2 * g);
    }
}

static int quantize_iq4_xs(const float *x, const float *w, size_t k, void *out)
{
    rz_block_iq4_xs *to = out;
    int overflow = 0;
    size_t n_block = k / 256;
    for (size_t b = 0; b < n_block; b += 2) {
        size_t n_here = n_block - b < 2 ? n_block - b : 2;
        lane_groups in;
        symmetric_fit fit;
        float s[LANES], by_s[LANES];
        uint8_t codes[LANES * 32];
        load_blocks(x + 256 * b, w ? w + 256 * b : NULL, 256, n_here, 32, &in);
        iq4_search(&in, &fit);
        f32x16_store(s, fit.s);
        f32x16_store(by_s, fit.qq);
        for (size_t i = 0; i < n_here; i++) iq4_xs_scales(s + 8 * i, by_s + 8 * i, to + b + i, &overflow);
        iq4_round(&in, s, codes);
        for (size_t g = 0; g < 8 * n_here; g++) pack_nibbles(codes + 32 * g, to[b + g / 8].qs + g % 8 * 16);
    }
    return overflow;
}

#endif
