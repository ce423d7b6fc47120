/* Attention to a q4 cache in integers: queries are rounded to int8, the weights of a tile of keys to int16. */
#ifndef REALIZAR_SCALAR_ATTENTION_Q4_H
#define REALIZAR_SCALAR_ATTENTION_Q4_H

#include "realizar/scalar/kv.h"
#include "realizar/scalar/round_int8.h"
#include "realizar/scalar/visible.h"

/* A query in the form of the cached keys: floats, or, for q4, integers and their scale. */
struct own_query {
    float x[RZ_ATTEND_MAX_HEAD_DIM];
    int8_t q[RZ_ATTEND_MAX_HEAD_DIM];
    float scale;
};

/* q . k: the sum of the products of integers is exact. */
static inline float dot_q4(const struct own_query *query, const char *block, int slot, size_t head_dim)
{
    int32_t sum = 0;
    for (size_t d = 0; d < head_dim; d++) sum += query->q[d] * q4_at(block, q4_k_nibble(d, slot));
    return (float)sum * (query->scale * kv_scales(block, head_dim, RZ_KV_Q4)[slot]);
}

/* Writes w[n] within [-32767, 32767] and returns their scale; exceptions as in round_int8. Sums of 64 products with
 * elements of q4 fit in 28 bits. */
static inline float round_weights(const float *p, size_t n, int16_t *w)
{
    uint32_t amax_bits = largest_bits(p, n);
    float amax = rz_bits_to_f32(amax_bits);
    if (amax_bits >= 0x7f800000 || amax < 0x1p-100f) {
        memset(w, 0, n * sizeof *w);
        return amax_bits >= 0x7f800000 ? NAN : 0;
    }
    float scale = 32767 / amax;
    for (size_t i = 0; i < n; i++) w[i] = (int16_t)rintf(p[i] * scale);
    return amax / 32767;
}

/* acc += the sum of p * V over the keys of a tile that the query sees; p[key % RZ_ATTEND_TILE] are their weights. */
static inline void gather_q4(const struct rz_attend_args *args, struct key_range seen, const float *p, float *acc)
{
    size_t head_dim = (size_t)args->head_dim_v, n = (size_t)(seen.end - seen.first);
    float scaled[RZ_ATTEND_TILE];
    int16_t w[RZ_ATTEND_TILE];
    int32_t sum[RZ_ATTEND_MAX_HEAD_DIM] = {0};
    for (int64_t key = seen.first; key < seen.end; key++)
        scaled[key - seen.first] =
            p[key % RZ_ATTEND_TILE] * kv_scales(v_block(args, key), head_dim, RZ_KV_Q4)[key % RZ_KV_BLOCK];
    float scale = round_weights(scaled, n, w);
    for (int64_t key = seen.first; key < seen.end; key++) {
        const char *block = v_block(args, key);
        int slot = (int)(key % RZ_KV_BLOCK), weight = w[key - seen.first];
        for (size_t d = 0; d < head_dim; d++) sum[d] += weight * q4_at(block, q4_v_nibble(d, slot, head_dim));
    }
    for (size_t d = 0; d < head_dim; d++) acc[d] = fmaf((float)sum[d], scale, acc[d]);
}

#endif
