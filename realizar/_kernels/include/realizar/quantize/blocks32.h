/* Q4_0, Q4_1, Q5_0, Q5_1, Q8_0: blocks of 32 with half floats for scale and minimum.
 *
 * Without importances they round as ggml's reference does (quantize_row_*_ref in ggml-quants.c), byte for byte: models
 * that were trained to be rounded so stay exact. With importances, scales are searched. */
#ifndef REALIZAR_QUANTIZE_BLOCKS32_H
#define REALIZAR_QUANTIZE_BLOCKS32_H

#include "realizar/quantize/affine.h"
#include "realizar/quantize/importances.h"
#include "realizar/quantize/symmetric.h"

RZ_INLINE float inverse_or_zero(float d)
{
    float inverse = 1 / d;
    return isfinite(inverse) ? inverse : 0; /* a d whose inverse is infinite is 0 as a half float */
}

/* Sixteen blocks as in the reference: the element farthest from zero, the first of equals, becomes -q_end. Codes are
 * cut to whole numbers when they are stored. */
RZ_NOINLINE void plain_symmetric(const lane_groups *in, float q_end, uint16_t *d, uint8_t *codes, int *overflow)
{
    f32x16 q[32];
    float scales[LANES], inverses[LANES];
    f32x16_store(scales, f32x16_div(lanes_extreme(in->x, 32), f32x16_set(-q_end)));
    for (int g = 0; g < LANES; g++) {
        inverses[g] = inverse_or_zero(scales[g]);
        half_scale(scales[g], &d[g], overflow);
    }
    f32x16 inverse = f32x16_load(inverses), middle = f32x16_set(q_end + 0.5f), most = f32x16_set(2 * q_end - 1);
    for (int i = 0; i < 32; i++) q[i] = f32x16_min(f32x16_add(f32x16_mul(in->x[i], inverse), middle), most);
    lanes_store_codes(q, 32, 0, codes);
}

/* Sixteen blocks as in the reference: the least element becomes 0, the greatest q_max. */
RZ_NOINLINE void plain_affine(const lane_groups *in, float q_max, uint16_t *d, uint16_t *m, uint8_t *codes,
                              int *overflow)
{
    f32x16 q[32], low = in->x[0], high = in->x[0];
    float scales[LANES], inverses[LANES], lows[LANES];
    for (int i = 1; i < 32; i++) {
        low = f32x16_if_less(in->x[i], low, in->x[i], low);
        high = f32x16_if_less(high, in->x[i], in->x[i], high);
    }
    f32x16_store(scales, f32x16_div(f32x16_sub(high, low), f32x16_set(q_max)));
    f32x16_store(lows, low);
    for (int g = 0; g < LANES; g++) {
        inverses[g] = inverse_or_zero(scales[g]);
        half_scale(scales[g], &d[g], overflow);
        half_scale(lows[g], &m[g], overflow);
    }
    f32x16 inverse = f32x16_load(inverses), half = f32x16_set(0.5f), most = f32x16_set(q_max);
    for (int i = 0; i < 32; i++) {
        q[i] = f32x16_min(f32x16_add(f32x16_mul(f32x16_sub(in->x[i], low), inverse), half), most);
    }
    lanes_store_codes(q, 32, 0, codes);
}

static int quantize_q8_0(const float *x, const float *w, size_t k, void *out)
{
    rz_block_q8_0 *to = out;
    int overflow = 0;
    for (size_t b = 0; b < k / 32; b++, x += 32, to++) {
        float most = 0;
        for (int i = 0; i < 32; i++) most = fabsf(x[i]) > most ? fabsf(x[i]) : most;
        float scale = most / 127, inverse = inverse_or_zero(scale);
        for (int i = 0; i < 32; i++) { /* ties away from zero, as roundf */
            float scaled = x[i] * inverse, whole = (float)(int)scaled;
            to->qs[i] = (int8_t)(whole + (float)(int)(2 * (scaled - whole)));
        }
        half_scale(scale, &to->d, &overflow);
    }
    return overflow;
}

static void pack_nibbles(const uint8_t *q, uint8_t *qs)
{
    for (int i = 0; i < 16; i++) qs[i] = (uint8_t)((q[i] & 15) | q[i + 16] << 4);
}

static void pack_fifth_bits(const uint8_t *q, uint8_t *qh)
{
    for (int j = 0; j < 4; j++, q += 8) { /* in a register, not bit by bit in memory */
        unsigned bits = 0;
        for (int i = 0; i < 8; i++) bits |= (unsigned)(q[i] >> 4) << i;
        qh[j] = (uint8_t)bits;
    }
}

/* Sixteen blocks with importances: half floats and q + q_end. */
RZ_NOINLINE void searched_symmetric(const lane_groups *in, float q_end, uint16_t *d, uint8_t *codes, int *overflow)
{
    f32x16 q[32];
    float s[LANES];
    symmetric_fit fit = symmetric_search(in, 32, q_end, 0.1f, 9, 2);
    f32x16_store(s, fit.s);
    for (int g = 0; g < LANES; g++) s[g] = half_scale(s[g], &d[g], overflow);
    symmetric_round(in, 32, f32x16_load(s), q_end, q);
    lanes_store_codes(q, 32, (int)q_end, codes);
}

/* Sixteen blocks with importances: x ≈ d q + m, m of either sign. */
RZ_NOINLINE void searched_affine(const lane_groups *in, float q_max, uint16_t *d, uint16_t *m, uint8_t *codes,
                                 int *overflow)
{
    const affine_search how = {-0.9f, 0.1f, 19, 2, 1};
    f32x16 q[32];
    float s[LANES], minimum[LANES];
    affine_group group;
    affine_sums sums;
    affine_begin(in, 32, &group);
    affine_fit fit = affine_search_fit(in, &group, 32, q_max, how, &sums);
    f32x16_store(s, fit.s);
    f32x16_store(minimum, fit.m);
    for (int g = 0; g < LANES; g++) {
        s[g] = half_scale(s[g], &d[g], overflow);
        minimum[g] = -half_scale(-minimum[g], &m[g], overflow);
    }
    affine_round(in, 32, f32x16_load(s), f32x16_load(minimum), q_max, q);
    lanes_store_codes(q, 32, 0, codes);
}

/* Half floats and codes of up to sixteen blocks. */
typedef struct {
    uint16_t d[LANES], m[LANES];
    uint8_t codes[LANES * 32];
} found_32;

/* q_end: of x ≈ d (q - q_end), or 0 for x ≈ d q + m with q up to q_max. A block in the file is d, m if it has one, the
 * fifth bits if q has them, and the nibbles. */
RZ_NOINLINE int quantize_32(const float *x, const float *w, size_t k, float q_end, float q_max, void *out)
{
    uint8_t *to = out;
    int overflow = 0;
    size_t n_block = k / 32;
    for (size_t b = 0; b < n_block; b += LANES) {
        size_t n_here = n_block - b < LANES ? n_block - b : LANES;
        found_32 found;
        lane_groups in;
        load_blocks(x + 32 * b, w ? w + 32 * b : NULL, 32, n_here, 32, &in);
        if (w && q_end)
            searched_symmetric(&in, q_end, found.d, found.codes, &overflow);
        else if (w)
            searched_affine(&in, q_max, found.d, found.m, found.codes, &overflow);
        else if (q_end)
            plain_symmetric(&in, q_end, found.d, found.codes, &overflow);
        else
            plain_affine(&in, q_max, found.d, found.m, found.codes, &overflow);
        for (size_t i = 0; i < n_here; i++) {
            memcpy(to, &found.d[i], 2), to += 2;
            if (!q_end) memcpy(to, &found.m[i], 2), to += 2;
            if (q_max > 15) pack_fifth_bits(found.codes + 32 * i, to), to += 4;
            pack_nibbles(found.codes + 32 * i, to), to += 16;
        }
    }
    return overflow;
}

static int quantize_q4_0(const float *x, const float *w, size_t k, void *out)
{
    return quantize_32(x, w, k, 8, 15, out);
}

static int quantize_q4_1(const float *x, const float *w, size_t k, void *out)
{
    return quantize_32(x, w, k, 0, 15, out);
}

static int quantize_q5_0(const float *x, const float *w, size_t k, void *out)
{
    return quantize_32(x, w, k, 16, 31, out);
}

static int quantize_q5_1(const float *x, const float *w, size_t k, void *out)
{
    return quantize_32(x, w, k, 0, 31, out);
}

#endif
