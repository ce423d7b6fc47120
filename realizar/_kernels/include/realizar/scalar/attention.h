/* Attention of one split: online softmax over tiles of 64 keys, query by query. */
#ifndef REALIZAR_SCALAR_ATTENTION_H
#define REALIZAR_SCALAR_ATTENTION_H

#include <stdbool.h>
#include <string.h>

#include "realizar/scalar/attention_q4.h"
#include "realizar/scalar/dot_f32.h"
#include "realizar/scalar/hadamard.h"
#include "realizar/scalar/kv.h"
#include "realizar/scalar/visible.h"

/* The score times the scale and, with a softcap, squashed into (-softcap, softcap). */
static inline float cap_score(const struct rz_attend_args *args, float s)
{
    s *= args->scale;
    return args->softcap != 0 ? args->softcap * tanh_f32(s / args->softcap) : s;
}

/* Query i is head i % n_group of token i / n_group. */
static inline float score(const struct rz_attend_args *args, const struct own_query *query, int i, int64_t key)
{
    const char *block = k_block(args, key);
    size_t head_dim = (size_t)args->head_dim_k;
    int slot = (int)(key % RZ_KV_BLOCK);
    float s = 0;
    if (args->k_type == RZ_KV_Q4)
        s = dot_q4(query, block, slot, head_dim);
    else
        for (size_t d = 0; d < head_dim; d++) s = fmaf(query->x[d], k_load(block, d, slot, head_dim, args->k_type), s);
    s = cap_score(args, s);
    return args->bias ? s + query_bias(args, i)[key] : s;
}

/* acc += p * V of key; with MLA, V is a part of K. */
static inline void gather(const struct rz_attend_args *args, float p, int64_t key, float *acc)
{
    const char *block = args->latent ? k_block(args, key) : v_block(args, key);
    size_t dim_k = (size_t)args->head_dim_k, dim_v = (size_t)args->head_dim_v;
    int slot = (int)(key % RZ_KV_BLOCK);
    for (size_t d = 0; d < dim_v; d++) {
        float v =
            args->latent ? k_load(block, d, slot, dim_k, args->k_type) : v_load(block, d, slot, dim_v, args->v_type);
        acc[d] = fmaf(p, v, acc[d]);
    }
}

/* Adds the keys of one tile to the running (m, l, acc) of query i. ISA levels take a maximum in different orders, so a
 * maximum of zeros may be -0 or +0. This does not change the result: the maximum is only subtracted; x - 0 and x - -0
 * differ only if x is a zero; then both are zeros, and exp_f32 of either is 1: n is 0, r a zero, p = fma(q, r * r,
 * r) + 1 = 1. */
static void attend_tile(const struct rz_attend_args *args, struct key_range seen, const struct own_query *query, int i,
                        float *acc)
{
    float s[RZ_ATTEND_TILE], sum[16] = {0}, *m = &args->m[i], *l = &args->l[i], max = *m;
    bool whole = args->v_type == RZ_KV_Q4 && !args->latent; /* the V of the tile at once */
    for (int64_t key = seen.first; key < seen.end; key++) {
        float x = s[key % RZ_ATTEND_TILE] = score(args, query, i, key);
        max = x > max ? x : max;
    }
    float correction = exp_f32(*m - max);
    for (int d = 0; d < args->head_dim_v; d++) acc[d] *= correction;
    for (int64_t key = seen.first; key < seen.end; key++) {
        float p = s[key % RZ_ATTEND_TILE] = exp_f32(s[key % RZ_ATTEND_TILE] - max);
        sum[key % 16] += p;
        if (!whole) gather(args, p, key, acc);
    }
    if (whole) gather_q4(args, seen, s, acc);
    *m = max;
    *l = fmaf(*l, correction, sum_lanes(sum));
}

/* The query in the form of the cached keys: some caches hold H k, see hadamard.h. */
static inline void open_query(const struct rz_attend_args *args, const float *q, struct own_query *own)
{
    size_t head_dim = (size_t)args->head_dim_k;
    memcpy(own->x, q, head_dim * sizeof *q);
    if (!rz_kv_types[args->k_type].transforms_k) return;
    hadamard(own->x, head_dim);
    for (size_t d = 0; d < head_dim; d++) own->x[d] *= 1 / (float)hadamard_width(head_dim);
    if (args->k_type == RZ_KV_Q4) own->scale = round_int8(own->x, head_dim, own->q);
}

static void attend_f32(const struct rz_attend_args *args)
{
    struct own_query query;
    for (int i = 0; i < args->n_tokens * args->n_group; i++) {
        int t = i / args->n_group, h = i % args->n_group;
        float *acc = args->acc + (size_t)i * (size_t)args->head_dim_v;
        open_query(args, args->q + (size_t)t * args->q_stride + (size_t)(h * args->head_dim_k), &query);
        args->m[i] = -INFINITY;
        args->l[i] = 0;
        memset(acc, 0, (size_t)args->head_dim_v * sizeof *acc);
        for (int64_t key = args->key0; key < args->key0 + RZ_ATTEND_SPLIT; key += RZ_ATTEND_TILE) {
            struct key_range seen = visible_keys(args, t, (struct key_range){key, key + RZ_ATTEND_TILE});
            if (seen.first < seen.end) attend_tile(args, seen, &query, i, acc);
        }
    }
}

/* A partial result without a visible key is skipped (two of them would even compute exp(-Inf - -Inf)), and the first
 * one with a key is copied exactly: whether a window begins with splits without keys depends on the queries that share
 * a tile. */
static void attend_merge_f32(float *m, float *l, float *acc, float mp, float lp, const float *accp, size_t head_dim)
{
    if (mp == -INFINITY && lp == 0) return;
    if (*m == -INFINITY && *l == 0) {
        *m = mp, *l = lp;
        memcpy(acc, accp, head_dim * sizeof(float));
        return;
    }
    float max = *m > mp ? *m : mp, a = exp_f32(*m - max), b = exp_f32(mp - max);
    *m = max;
    *l = fmaf(*l, a, lp * b);
    for (size_t d = 0; d < head_dim; d++) acc[d] = fmaf(acc[d], a, accp[d] * b);
}

#endif
