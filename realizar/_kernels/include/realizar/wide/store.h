/* Writing one head of one token into its slot of a cache block; defined in scalar/store.h. */
#ifndef REALIZAR_WIDE_STORE_H
#define REALIZAR_WIDE_STORE_H

#include "realizar/scalar/kv.h"
#include "realizar/scalar/round_int8.h"
#include "realizar/scalar/round_q4.h"
#include "realizar/wide/hadamard.h"

/* Converts 16 elements at a time to half floats, then stores them; elements of K are RZ_KV_BLOCK apart. */
static void store_k_f16_x16(const float *x, size_t head_dim, int slot, void *block)
{
    uint16_t half[16], *out = (uint16_t *)block + slot;
    for (size_t d = 0; d < head_dim; d += 16) {
        size_t n = head_dim - d < 16 ? head_dim - d : 16;
        f32x16_store_first_f16(half, f32x16_load_first(x + d, n), n);
        for (size_t i = 0; i < n; i++) out[(d + i) * RZ_KV_BLOCK] = half[i];
    }
}

static void store_v_f16_x16(const float *x, size_t head_dim, int slot, void *block)
{
    uint16_t *out = (uint16_t *)block + (size_t)slot * head_dim;
    for (size_t d = 0; d < head_dim; d += 16)
        f32x16_store_first_f16(out + d, f32x16_load_first(x + d, head_dim - d), head_dim - d);
}

/* round_int8 and round_q4 are the scalar code: integers and one rounding, which the compiler vectorizes. */
static void store_k_int8_x16(const float *x, size_t head_dim, int slot, void *block)
{
    float transformed[RZ_ATTEND_MAX_HEAD_DIM];
    int8_t q[RZ_ATTEND_MAX_HEAD_DIM], *out = (int8_t *)block + slot;
    hadamard_f32x16(x, head_dim, 1, transformed);
    kv_scales(block, head_dim, RZ_KV_INT8)[slot] = round_int8(transformed, head_dim, q);
    for (size_t d = 0; d < head_dim; d++) out[d * RZ_KV_BLOCK] = q[d];
}

static void store_v_int8_x16(const float *x, size_t head_dim, int slot, void *block)
{
    kv_scales(block, head_dim, RZ_KV_INT8)[slot] = round_int8(x, head_dim, (int8_t *)block + (size_t)slot * head_dim);
}

static void store_k_q4_x16(const float *x, size_t head_dim, int slot, void *block)
{
    float transformed[RZ_ATTEND_MAX_HEAD_DIM];
    hadamard_f32x16(x, head_dim, 1, transformed);
    write_k_q4(transformed, head_dim, slot, block);
}

static void store_v_q4_x16(const float *x, size_t head_dim, int slot, void *block)
{
    float transformed[RZ_ATTEND_MAX_HEAD_DIM];
    hadamard_f32x16(x, head_dim, 1, transformed);
    write_v_q4(transformed, head_dim, slot, block);
}

#endif
