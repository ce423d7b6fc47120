/* Summaries of blocks of RZ_LOGITS_BLOCK logits: the greatest, and the sum of e**(x - greatest). */
#ifndef REALIZAR_SCALAR_LOGITS_H
#define REALIZAR_SCALAR_LOGITS_H

#include "realizar/scalar/dot_f32.h"
#include "realizar/scalar/math.h"
#include "realizar/table.h"

/* Lane j of sixteen adds up elements j, j + 16, j + 32, j + 48, in pairs. */
static inline float sum_of_block(const float *x)
{
    float lanes[16];
    for (int j = 0; j < 16; j++) lanes[j] = (x[j] + x[j + 16]) + (x[j + 32] + x[j + 48]);
    return sum_lanes(lanes);
}

/* The greatest of a block, ignoring NaN; +0 rather than -0. */
static inline float max_of_block(const float *x, size_t n)
{
    float max = -INFINITY;
    for (size_t i = 0; i < n; i++) max = x[i] > max ? x[i] : max;
    return max + 0.0f;
}

static void logit_sums_f32(const float *x, size_t n, float *max, float *sum)
{
    for (size_t i = 0; i < n; i += RZ_LOGITS_BLOCK) {
        float e[RZ_LOGITS_BLOCK] = {0};
        size_t length = n - i < RZ_LOGITS_BLOCK ? n - i : RZ_LOGITS_BLOCK;
        *max = max_of_block(x + i, length);
        float base = rz_block_base(*max++);
        for (size_t j = 0; j < length; j++) e[j] = exp_f32(x[i + j] - base);
        *sum++ = sum_of_block(e);
    }
}

static void logit_falls_f32(const float *x, size_t n, const float *max, float *fall)
{
    for (size_t i = 0; i < n; i += RZ_LOGITS_BLOCK) {
        float e[RZ_LOGITS_BLOCK] = {0}, base = rz_block_base(*max++);
        for (size_t j = 0; j < RZ_LOGITS_BLOCK && i + j < n; j++) {
            float below = base - x[i + j];
            e[j] = exp_f32(-below) * (RZ_FALL_MAX < below ? RZ_FALL_MAX : below);
        }
        *fall++ = sum_of_block(e);
    }
}

static void logit_weights_f32(const float *x, float peak, size_t n, float *y)
{
    for (size_t i = 0; i < n; i++) y[i] = exp_f32(x[i] - peak);
}

#endif
