/* MXFP4: blocks of 32 numbers of FP4 E2M1 with a power of two for scale. */
#ifndef REALIZAR_QUANTIZE_MXFP4_H
#define REALIZAR_QUANTIZE_MXFP4_H

#include "realizar/quantize/blocks32.h"

/* |t| <= 8 to the nearest of 0, 0.5, 1, 1.5, 2, 3, 4, 6: steps of 1/2, 1 and 2 below 2, below 4 and above. */
RZ_INLINE f32x16 e2m1_round(f32x16 t)
{
    f32x16 size = f32x16_abs(t), two = f32x16_set(2), half = f32x16_set(0.5f);
    f32x16 fine = f32x16_mul(lanes_round(f32x16_mul(size, two)), half);
    f32x16 coarse = f32x16_mul(lanes_round(f32x16_mul(size, half)), two);
    f32x16 rounded = f32x16_if_less(size, two, fine, f32x16_if_less(size, f32x16_set(4), lanes_round(size), coarse));
    rounded = f32x16_min(rounded, f32x16_set(6));
    return f32x16_if_less(t, f32x16_zero(), f32x16_sub(f32x16_zero(), rounded), rounded);
}

/* The code of a number of E2M1: the magnitudes doubled are 0, 1, 2, 3, 4, 6, 8, 12. */
static uint8_t e2m1_code(float v)
{
    int doubled = (int)fabsf(2 * v);
    int code = doubled <= 4 ? doubled : doubled == 6 ? 5 : doubled == 8 ? 6 : 7;
    return (uint8_t)(v < 0 ? code | 8 : code);
}

/* The exponent byte that gives 2^(e - 127); the reference takes that of the largest magnitude, less two. */
static int reference_exponent(float most)
{
    int exponent = (int)(rz_f32_to_bits(most) >> 23) - 2;
    return most > 0 && exponent > 0 ? exponent : 0;
}

static float exponent_scale(int e) { return rz_bits_to_f32(e > 0 ? (uint32_t)e << 23 : 0x00400000); }

/* Sixteen blocks: the reference's exponent, or the next where the error is smaller: then no value is cut to 6. */
RZ_NOINLINE void mxfp4_quantize(const lane_groups *in, const int *first, uint8_t *e, uint8_t *codes)
{
    f32x16 best_error, best_q[32], shift = f32x16_zero();
    for (int k = 0; k < 2; k++) {
        float scales[LANES], inverses[LANES];
        for (int g = 0; g < LANES; g++) {
            scales[g] = exponent_scale(first[g] + k);
            inverses[g] = inverse_or_zero(scales[g]);
        }
        f32x16 q[32], error = f32x16_zero(), scale = f32x16_load(scales), inverse = f32x16_load(inverses);
        for (int i = 0; i < 32; i++) {
            q[i] = e2m1_round(lanes_clamp(f32x16_mul(in->x[i], inverse), -8, 8));
            f32x16 difference = f32x16_sub(f32x16_mul(q[i], scale), in->x[i]);
            error = f32x16_add(error, f32x16_mul(in->w[i], f32x16_mul(difference, difference)));
        }
        if (k == 0) { /* kept also where squares of large values are infinite */
            memcpy(best_q, q, sizeof best_q);
            best_error = error;
            continue;
        }
        shift = f32x16_if_less(error, best_error, f32x16_set(1), shift);
        for (int i = 0; i < 32; i++) best_q[i] = f32x16_if_less(error, best_error, q[i], best_q[i]);
    }
    float shifts[LANES], values[LANES];
    f32x16_store(shifts, shift);
    for (int g = 0; g < LANES; g++) e[g] = (uint8_t)(first[g] + (int)shifts[g]);
    for (int i = 0; i < 32; i++) {
        f32x16_store(values, best_q[i]);
        for (int g = 0; g < LANES; g++) codes[32 * g + i] = e2m1_code(values[g]);
    }
}

static int quantize_mxfp4(const float *x, const float *w, size_t k, void *out)
{
    rz_block_mxfp4 *to = out;
    size_t n_block = k / 32;
    for (size_t b = 0; b < n_block; b += LANES) {
        size_t n_here = n_block - b < LANES ? n_block - b : LANES;
        lane_groups in;
        int first[LANES];
        uint8_t e[LANES], codes[LANES * 32];
        load_blocks(x + 32 * b, w ? w + 32 * b : NULL, 32, n_here, 32, &in);
        for (size_t g = 0; g < LANES; g++) {
            const float *block = x + 32 * (b + (g < n_here ? g : n_here - 1));
            float most = 0;
            for (int i = 0; i < 32; i++) most = fabsf(block[i]) > most ? fabsf(block[i]) : most;
            first[g] = reference_exponent(most);
        }
        mxfp4_quantize(&in, first, e, codes);
        for (size_t i = 0; i < n_here; i++) {
            to[b + i].e = e[i];
            pack_nibbles(codes + 32 * i, to[b + i].qs);
        }
    }
    return 0;
}

#endif
