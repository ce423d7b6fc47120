/* The rounding error of int8 activations; compiled for each ISA level, with the same bits in all. */
#ifndef REALIZAR_RESIDUAL_H
#define REALIZAR_RESIDUAL_H

#include "realizar/table.h"

/* y = x - d * q for a row of k elements and its quantized row. */
static void residual_act(const float *x, size_t k, int block, const void *q_row, float *y)
{
    const int8_t *q = q_row;
    const float *d = (const float *)((const char *)q_row + rz_act_d_offset(k));
    for (size_t i = 0; i < k; i += (size_t)block, d++)
        for (size_t j = i; j < i + (size_t)block; j++) y[j] = x[j] - *d * (float)q[j];
}

#endif
