/* Writing one head of one token into its slot of a cache block. */
#ifndef REALIZAR_SCALAR_STORE_H
#define REALIZAR_SCALAR_STORE_H

#include "realizar/scalar/hadamard.h"
#include "realizar/scalar/kv.h"
#include "realizar/scalar/round_int8.h"
#include "realizar/scalar/round_q4.h"

static void store_k_f32(const float *x, size_t head_dim, int slot, void *block)
{
    for (size_t d = 0; d < head_dim; d++) ((float *)block)[d * RZ_KV_BLOCK + (size_t)slot] = x[d];
}

static void store_v_f32(const float *x, size_t head_dim, int slot, void *block)
{
    memcpy((float *)block + (size_t)slot * head_dim, x, head_dim * sizeof *x);
}

static void store_k_f16(const float *x, size_t head_dim, int slot, void *block)
{
    for (size_t d = 0; d < head_dim; d++) ((uint16_t *)block)[d * RZ_KV_BLOCK + (size_t)slot] = rz_f32_to_f16(x[d]);
}

static void store_v_f16(const float *x, size_t head_dim, int slot, void *block)
{
    for (size_t d = 0; d < head_dim; d++) ((uint16_t *)block)[(size_t)slot * head_dim + d] = rz_f32_to_f16(x[d]);
}

static void store_k_int8(const float *x, size_t head_dim, int slot, void *block)
{
    float transformed[RZ_ATTEND_MAX_HEAD_DIM];
    int8_t q[RZ_ATTEND_MAX_HEAD_DIM];
    memcpy(transformed, x, head_dim * sizeof *x);
    hadamard(transformed, head_dim);
    kv_scales(block, head_dim, RZ_KV_INT8)[slot] = round_int8(transformed, head_dim, q);
    for (size_t d = 0; d < head_dim; d++) ((int8_t *)block)[d * RZ_KV_BLOCK + (size_t)slot] = q[d];
}

static void store_v_int8(const float *x, size_t head_dim, int slot, void *block)
{
    kv_scales(block, head_dim, RZ_KV_INT8)[slot] = round_int8(x, head_dim, (int8_t *)block + (size_t)slot * head_dim);
}

static void store_k_q4(const float *x, size_t head_dim, int slot, void *block)
{
    float transformed[RZ_ATTEND_MAX_HEAD_DIM];
    memcpy(transformed, x, head_dim * sizeof *x);
    hadamard(transformed, head_dim);
    write_k_q4(transformed, head_dim, slot, block);
}

static void store_v_q4(const float *x, size_t head_dim, int slot, void *block)
{
    float transformed[RZ_ATTEND_MAX_HEAD_DIM];
    memcpy(transformed, x, head_dim * sizeof *x);
    hadamard(transformed, head_dim);
    write_v_q4(transformed, head_dim, slot, block);
}

#endif
