/* The K and V cache: blocks of 16 tokens, K as [head_dim][16], V as [16][head_dim], float, half or int8. */
#ifndef REALIZAR_SCALAR_KV_H
#define REALIZAR_SCALAR_KV_H

#include <string.h>

#include "realizar/scalar/math.h"
#include "realizar/table.h"
#include "realizar/target.h"

/* The scales of an int8 block, one for each token. */
static inline float *kv_scales(const char *block, size_t head_dim) { return (float *)(block + RZ_KV_BLOCK * head_dim); }

/* Element i of a block; slot is that of its token. */
RZ_INLINE float kv_load(const char *block, size_t i, int slot, size_t head_dim, int type)
{
    switch (type) {
    case RZ_KV_INT8:
        return (float)((const int8_t *)block)[i] * kv_scales(block, head_dim)[slot];
    case RZ_KV_F16:
        return rz_f16_to_f32(((const uint16_t *)block)[i]);
    default:
        return ((const float *)block)[i];
    }
}

/* K and V of key inside their blocks. */
static inline const char *k_block(const struct rz_attend_args *args, int64_t key)
{
    return args->k + (size_t)args->block_table[key / RZ_KV_BLOCK] * args->k_block_stride;
}

static inline const char *v_block(const struct rz_attend_args *args, int64_t key)
{
    return args->v + (size_t)args->block_table[key / RZ_KV_BLOCK] * args->v_block_stride;
}

#endif
