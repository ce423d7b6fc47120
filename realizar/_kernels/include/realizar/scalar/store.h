/* Writing one head of one token into its slot of a cache block. */
#ifndef REALIZAR_SCALAR_STORE_H
#define REALIZAR_SCALAR_STORE_H

#include "realizar/scalar/kv.h"

RZ_INLINE void store_k_as(const float *x, size_t head_dim, int slot, void *block, int type)
{
    for (size_t d = 0; d < head_dim; d++) kv_store(block, d * RZ_KV_BLOCK + (size_t)slot, type, x[d]);
}

RZ_INLINE void store_v_as(const float *x, size_t head_dim, int slot, void *block, int type)
{
    for (size_t d = 0; d < head_dim; d++) kv_store(block, (size_t)slot * head_dim + d, type, x[d]);
}

static void store_k_f32(const float *x, size_t n, int slot, void *block) { store_k_as(x, n, slot, block, RZ_KV_F32); }
static void store_k_f16(const float *x, size_t n, int slot, void *block) { store_k_as(x, n, slot, block, RZ_KV_F16); }
static void store_v_f32(const float *x, size_t n, int slot, void *block) { store_v_as(x, n, slot, block, RZ_KV_F32); }
static void store_v_f16(const float *x, size_t n, int slot, void *block) { store_v_as(x, n, slot, block, RZ_KV_F16); }

#endif
