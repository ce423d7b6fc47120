/* The K and V cache: blocks of 16 tokens, K as [head_dim][16], V as [16][head_dim], float or half. */
#ifndef REALIZAR_SCALAR_KV_H
#define REALIZAR_SCALAR_KV_H

#include "realizar/scalar/math.h"
#include "realizar/table.h"
#include "realizar/target.h"

/* type is a constant wherever these are called, so that the choice is made by the compiler. */
RZ_INLINE float kv_load(const void *block, size_t i, int type)
{
    return type == RZ_KV_F16 ? rz_f16_to_f32(((const uint16_t *)block)[i]) : ((const float *)block)[i];
}

RZ_INLINE void kv_store(void *block, size_t i, int type, float x)
{
    if (type == RZ_KV_F16)
        ((uint16_t *)block)[i] = rz_f32_to_f16(x);
    else
        ((float *)block)[i] = x;
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
