/* What rounding activations to int8 lost; compiled for each tier by itself, with the same bits in all. */
#ifndef REALIZAR_RESIDUAL_H
#define REALIZAR_RESIDUAL_H

#include "realizar/table.h"

/* y = x - d * q for a row of k elements and its record. */
static void residual_act(const float *x, size_t k, int block, const void *record, float *y)
{
    const int8_t *q = record;
    const float *d = (const float *)((const char *)record + rz_act_d_offset(k));
    for (size_t i = 0; i < k; i += (size_t)block, d++)
        for (size_t j = i; j < i + (size_t)block; j++) y[j] = x[j] - *d * (float)q[j];
}

#endif
