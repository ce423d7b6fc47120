/* Q1_0, Q2_0, TQ1_0 and TQ2_0: one scale for a block of signs, or of -1, 0 and 1.
 *
 * Byte for byte as the reference (quantize_row_*_ref in ggml-quants.c): they are for models that were trained so, whose
 * weights it keeps. Importances would change nothing there, and are not used. */
#ifndef REALIZAR_QUANTIZE_TERNARY_H
#define REALIZAR_QUANTIZE_TERNARY_H

#include "realizar/quantize/blocks32.h"

/* The largest magnitude of n elements; q[n] is 0, 1 or 2 for x / d rounded to -1, 0 or 1, ties away from zero. */
static float ternary_round(const float *x, int n, uint8_t *q)
{
    float d = 0;
    for (int i = 0; i < n; i++) d = fabsf(x[i]) > d ? fabsf(x[i]) : d;
    float inverse = inverse_or_zero(d);
    for (int i = 0; i < n; i++) {
        float twice = 2 * (x[i] * inverse);
        q[i] = (uint8_t)(twice >= 1 ? 2 : twice <= -1 ? 0 : 1);
    }
    return d;
}

/* The base-3 digits of n bytes as a fraction of 256 each: digit i of byte j is q[n * i + j] (quants/ternary.py). */
static void pack_digits(const uint8_t *q, int n, int n_digits, uint8_t *out)
{
    for (int j = 0; j < n; j++) {
        int number = 0;
        for (int i = 0; i < 5; i++) number = 3 * number + (i < n_digits ? q[n * i + j] : 0);
        out[j] = (uint8_t)((number * 256 + 242) / 243);
    }
}

static int quantize_tq1_0(const float *x, const float *w, size_t k, void *out)
{
    rz_block_tq1_0 *to = out;
    uint8_t q[256];
    int overflow = 0;
    for (size_t b = 0; b < k / 256; b++, to++) {
        half_scale(ternary_round(x + 256 * b, 256, q), &to->d, &overflow);
        pack_digits(q, 32, 5, to->qs);
        pack_digits(q + 160, 16, 5, to->qs + 32);
        pack_digits(q + 240, 4, 4, to->qh);
    }
    return overflow;
}

static int quantize_tq2_0(const float *x, const float *w, size_t k, void *out)
{
    rz_block_tq2_0 *to = out;
    uint8_t q[256];
    int overflow = 0;
    for (size_t b = 0; b < k / 256; b++, to++) {
        half_scale(ternary_round(x + 256 * b, 256, q), &to->d, &overflow);
        pack_bit_pairs(q, to->qs);
    }
    return overflow;
}

static int quantize_q2_0(const float *x, const float *w, size_t k, void *out)
{
    rz_block_q2_0 *to = out;
    uint8_t q[64];
    int overflow = 0;
    for (size_t b = 0; b < k / 64; b++, to++) {
        half_scale(ternary_round(x + 64 * b, 64, q), &to->d, &overflow);
        for (int i = 0; i < 16; i++)
            to->qs[i] = (uint8_t)(q[4 * i] | q[4 * i + 1] << 2 | q[4 * i + 2] << 4 | q[4 * i + 3] << 6);
    }
    return overflow;
}

static int quantize_q1_0(const float *x, const float *w, size_t k, void *out)
{
    rz_block_q1_0 *to = out;
    int overflow = 0;
    for (size_t b = 0; b < k / 128; b++, to++, x += 128) {
        float sum = 0;
        for (int i = 0; i < 128; i++) sum += fabsf(x[i]);
        half_scale(sum / 128, &to->d, &overflow);
        memset(to->qs, 0, sizeof to->qs);
        for (int i = 0; i < 128; i++) to->qs[i / 8] |= (uint8_t)((x[i] >= 0) << i % 8);
    }
    return overflow;
}

#endif
