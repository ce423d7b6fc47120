/* Activation rows as int8: blocks of 32 or 256 with one scale, and the sums of their groups of 32 or 16. */
#ifndef REALIZAR_SCALAR_ACT_H
#define REALIZAR_SCALAR_ACT_H

#include "realizar/matmul.h"
#include "realizar/scalar/round_int8.h"

/* The quantized activation row of one token: rz_act_bytes(k, block) bytes, layout in table.h. */
static inline void quantize_act(const float *x, size_t k, int block, void *q_row)
{
    int group = (int)rz_act_group(block);
    int8_t *q = q_row;
    float *d = (float *)((char *)q_row + rz_act_d_offset(k));
    int16_t *s = (int16_t *)((char *)q_row + rz_act_s_offset(k, block));
    for (size_t b = 0; b < k / (size_t)block; b++)
        d[b] = round_int8(x + b * (size_t)block, (size_t)block, q + b * (size_t)block);
    for (size_t g = 0; g < k / (size_t)group; g++) {
        int sum = 0;
        for (int i = 0; i < group; i++) sum += q[g * (size_t)group + i];
        s[g] = (int16_t)sum;
    }
}

static void quantize_act_32(const float *x, size_t k, void *q_row) { quantize_act(x, k, 32, q_row); }
static void quantize_act_256(const float *x, size_t k, void *q_row) { quantize_act(x, k, 256, q_row); }

#endif
