/* The one list of the types of cached keys and values: names, bytes, layout, and what is transformed. */
#ifndef REALIZAR_KV_TYPES_H
#define REALIZAR_KV_TYPES_H

#include <stddef.h>

/* X(NAME, lower, group, bytes, lane, scale, transforms_k, transforms_v)
 *
 * In a cache block of 16 tokens, each `group` elements of a token's head take `bytes` bytes; the last group may be
 * shorter and is padded. K is interleaved: `lane` bytes of the first token, of the second, and so on. `scale` bytes for
 * each token follow the elements. transforms_k, transforms_v: K or V is stored after a Hadamard transform (scalar/hadamard.h). */
#define RZ_KV_TYPES(X)                                                                                                 \
    X(F32, f32, 1, 4, 4, 0, 0, 0)                                                                                      \
    X(F16, f16, 1, 2, 2, 0, 0, 0)                                                                                      \
    X(INT8, int8, 1, 1, 1, 4, 1, 0)                                                                                    \
    X(Q4, q4, 32, 16, 4, 4, 1, 1)

/* Index of a type in the kernel table: RZ_KV_INT8 and so on. */
#define RZ_KV_INDEX(NAME, lower, group, bytes, lane, scale, transforms_k, transforms_v) RZ_KV_##NAME,
enum { RZ_KV_TYPES(RZ_KV_INDEX) RZ_N_KV };
#undef RZ_KV_INDEX

struct rz_kv_type {
    const char *name;
    size_t group, bytes, lane, scale;
    int transforms_k, transforms_v;
};

#define RZ_KV_ROW(NAME, lower, group, bytes, lane, scale, transforms_k, transforms_v)                                  \
    {#lower, group, bytes, lane, scale, transforms_k, transforms_v},
static const struct rz_kv_type rz_kv_types[RZ_N_KV] = {RZ_KV_TYPES(RZ_KV_ROW)};
#undef RZ_KV_ROW

enum { RZ_KV_BLOCK = 16 };

/* Bytes of the elements of one head of K or V in a cache block. */
static inline size_t rz_kv_element_bytes(int type, size_t head_dim)
{
    size_t group = rz_kv_types[type].group;
    return RZ_KV_BLOCK * ((head_dim + group - 1) / group * rz_kv_types[type].bytes);
}

/* The same with the scales. */
static inline size_t rz_kv_bytes(int type, size_t head_dim)
{
    return rz_kv_element_bytes(type, head_dim) + RZ_KV_BLOCK * rz_kv_types[type].scale;
}

#endif
