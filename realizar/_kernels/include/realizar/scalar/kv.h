/* The K and V cache: blocks of 16 tokens of one head, and where an element is inside.
 *
 *     float, half, int8    K [head_dim][16], V [16][head_dim]
 *     q4                   K [head_dim / 8][16] dwords: elements 0 to 3 of 8 in the low nibbles, 4 to 7 in the high ones
 *                          V [4][head_dim / 32][16] dwords: for four tokens (0, 2, 1, 3 of the four, in the order of the
 *                          bytes), elements 0 to 15 of 32 in the low nibbles, 16 to 31 in the high ones
 *
 * The scales of the tokens of int8 and q4 are floats after the elements. A token never shares a byte with another, since
 * workers write them at the same time. */
#ifndef REALIZAR_SCALAR_KV_H
#define REALIZAR_SCALAR_KV_H

#include <string.h>

#include "realizar/scalar/math.h"
#include "realizar/table.h"
#include "realizar/target.h"

/* Elements of q4 whose nibbles are in one dword of K, and in one vector of V. */
enum { Q4_K_GROUP = 8, Q4_V_GROUP = 32 };

/* The scales of a block, one for each token. */
static inline float *kv_scales(const char *block, size_t head_dim, int type)
{
    return (float *)(block + rz_kv_element_bytes(type, head_dim));
}

/* A nibble of a block: the byte that it is in, and its lowest bit there. */
struct nibble {
    size_t byte;
    int shift;
};

static inline struct nibble q4_k_nibble(size_t d, int slot)
{
    size_t in_group = d % Q4_K_GROUP;
    return (struct nibble){(d / Q4_K_GROUP * RZ_KV_BLOCK + (size_t)slot) * 4 + in_group % 4, in_group < 4 ? 0 : 4};
}

static inline struct nibble q4_v_nibble(size_t d, int slot, size_t head_dim)
{
    static const size_t byte_of[4] = {0, 2, 1, 3};
    size_t n_group = (head_dim + Q4_V_GROUP - 1) / Q4_V_GROUP, four = (size_t)slot / 4;
    size_t dword = (four * n_group + d / Q4_V_GROUP) * 16 + d % 16;
    return (struct nibble){dword * 4 + byte_of[slot % 4], d % Q4_V_GROUP < 16 ? 0 : 4};
}

/* The element of q4 without its scale, within [-8, 7]. */
static inline int q4_at(const char *block, struct nibble at) { return ((uint8_t)block[at.byte] >> at.shift & 15) - 8; }

/* Element i of a block of another type; slot is that of its token. */
RZ_INLINE float kv_load(const char *block, size_t i, int slot, size_t head_dim, int type)
{
    switch (type) {
    case RZ_KV_INT8:
        return (float)((const int8_t *)block)[i] * kv_scales(block, head_dim, type)[slot];
    case RZ_KV_F16:
        return rz_f16_to_f32(((const uint16_t *)block)[i]);
    default:
        return ((const float *)block)[i];
    }
}

/* Element d of the K, or the V, of one token. */
RZ_INLINE float k_load(const char *block, size_t d, int slot, size_t head_dim, int type)
{
    if (type == RZ_KV_Q4) return (float)q4_at(block, q4_k_nibble(d, slot)) * kv_scales(block, head_dim, type)[slot];
    return kv_load(block, d * RZ_KV_BLOCK + (size_t)slot, slot, head_dim, type);
}

RZ_INLINE float v_load(const char *block, size_t d, int slot, size_t head_dim, int type)
{
    if (type == RZ_KV_Q4)
        return (float)q4_at(block, q4_v_nibble(d, slot, head_dim)) * kv_scales(block, head_dim, type)[slot];
    return kv_load(block, (size_t)slot * head_dim + d, slot, head_dim, type);
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
