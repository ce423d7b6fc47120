/* Activation rows as int8: blocks of 32 or 256 with one scale, and the sums of their groups of 32 or 16. */
#ifndef REALIZAR_SCALAR_ACT_H
#define REALIZAR_SCALAR_ACT_H

#include <math.h>

#include "realizar/matmul.h"
#include "realizar/scalar/half.h"

/* |x| as bits: integers order like the floats, and Inf and NaN come out largest. */
static inline uint32_t max_abs_bits(const float *x, int block)
{
    uint32_t amax = 0;
    for (int i = 0; i < block; i++) {
        uint32_t bits = rz_f32_to_bits(x[i]) & 0x7fffffff;
        amax = bits > amax ? bits : amax;
    }
    return amax;
}

/* Writes q[block] and returns d. A block with an Inf or NaN becomes NaN; one below 2^-100, where 127 / amax could
 * overflow, becomes zero. */
static inline float quantize_act_block(const float *x, int block, int8_t *q)
{
    uint32_t amax_bits = max_abs_bits(x, block);
    float amax = rz_bits_to_f32(amax_bits);
    if (amax_bits >= 0x7f800000 || amax < 0x1p-100f) {
        memset(q, 0, (size_t)block);
        return amax_bits >= 0x7f800000 ? NAN : 0;
    }
    float scale = 127 / amax;
    for (int i = 0; i < block; i++) q[i] = (int8_t)fminf(fmaxf(rintf(x[i] * scale), -127), 127);
    return amax / 127;
}

/* The record of one token: rz_act_bytes(k, block) bytes, layout in table.h. */
static inline void quantize_act(const float *x, size_t k, int block, void *record)
{
    int group = (int)rz_act_group(block);
    int8_t *q = record;
    float *d = (float *)((char *)record + rz_act_d_offset(k));
    int16_t *s = (int16_t *)((char *)record + rz_act_s_offset(k, block));
    for (size_t b = 0; b < k / (size_t)block; b++)
        d[b] = quantize_act_block(x + b * (size_t)block, block, q + b * (size_t)block);
    for (size_t g = 0; g < k / (size_t)group; g++) {
        int sum = 0;
        for (int i = 0; i < group; i++) sum += q[g * (size_t)group + i];
        s[g] = (int16_t)sum;
    }
}

static void quantize_act_32(const float *x, size_t k, void *record) { quantize_act(x, k, 32, record); }
static void quantize_act_256(const float *x, size_t k, void *record) { quantize_act(x, k, 256, record); }

#endif
