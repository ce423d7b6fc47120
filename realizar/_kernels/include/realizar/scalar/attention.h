/* Attention of one split: online softmax over tiles of 64 keys, query by query. */
#ifndef REALIZAR_SCALAR_ATTENTION_H
#define REALIZAR_SCALAR_ATTENTION_H

#include <string.h>

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
static inline float score(const struct rz_attend_args *args, const float *q, int i, int64_t key)
{
    const char *block = k_block(args, key);
    int slot = (int)(key % RZ_KV_BLOCK);
    float s = 0;
    for (size_t d = 0; d < (size_t)args->head_dim_k; d++) {
        size_t i = d * RZ_KV_BLOCK + (size_t)slot;
        s = fmaf(q[d], kv_load(block, i, slot, (size_t)args->head_dim_k, args->k_type), s);
    }
    s = cap_score(args, s);
    return args->bias ? s + query_bias(args, i)[key] : s;
}

/* acc += p * V of key, if V is a part of K. */
static inline void gather_latent(const struct rz_attend_args *args, float p, int64_t key, float *acc)
{
    const char *block = k_block(args, key);
    size_t head_dim = (size_t)args->head_dim_k, slot = (size_t)(key % RZ_KV_BLOCK);
    for (size_t d = 0; d < (size_t)args->head_dim_v; d++)
        acc[d] = fmaf(p, kv_load(block, d * RZ_KV_BLOCK + slot, (int)slot, head_dim, args->k_type), acc[d]);
}

/* acc += p * V of key. */
static inline void gather(const struct rz_attend_args *args, float p, int64_t key, float *acc)
{
    if (args->latent) {
        gather_latent(args, p, key, acc);
        return;
    }
    const char *block = v_block(args, key);
    size_t head_dim = (size_t)args->head_dim_v;
    int slot = (int)(key % RZ_KV_BLOCK);
    for (size_t d = 0; d < head_dim; d++)
        acc[d] = fmaf(p, kv_load(block, (size_t)slot * head_dim + d, slot, head_dim, args->v_type), acc[d]);
}

/* Adds the keys of one tile to the running (m, l, acc) of query i. ISA levels take a maximum in different orders, so a
 * maximum of zeros may be -0 or +0. This does not change the result: the maximum is only subtracted; x - 0 and x - -0
 * differ only if x is a zero; then both are zeros, and exp_f32 of either is 1: n is 0, r a zero, p = fma(q, r * r,
 * r) + 1 = 1. */
static void attend_tile(const struct rz_attend_args *args, struct key_range seen, const float *q, int i, float *acc)
{
    float s[RZ_ATTEND_TILE], sum[16] = {0}, *m = &args->m[i], *l = &args->l[i], max = *m;
    for (int64_t key = seen.first; key < seen.end; key++) {
        float x = s[key % RZ_ATTEND_TILE] = score(args, q, i, key);
        max = x > max ? x : max;
    }
    float correction = exp_f32(*m - max);
    for (int d = 0; d < args->head_dim_v; d++) acc[d] *= correction;
    for (int64_t key = seen.first; key < seen.end; key++) {
        float p = exp_f32(s[key % RZ_ATTEND_TILE] - max);
        sum[key % 16] += p;
        gather(args, p, key, acc);
    }
    *m = max;
    *l = fmaf(*l, correction, sum_lanes(sum));
}

/* The query in the form of the cached keys: an int8 cache holds H k, see hadamard.h. */
static inline void open_query(const struct rz_attend_args *args, const float *q, float *own)
{
    size_t head_dim = (size_t)args->head_dim_k;
    memcpy(own, q, head_dim * sizeof *q);
    if (args->k_type != RZ_KV_INT8) return;
    hadamard(own, head_dim);
    for (size_t d = 0; d < head_dim; d++) own[d] *= 1 / (float)hadamard_width(head_dim);
}

static void attend_f32(const struct rz_attend_args *args)
{
    float q[RZ_ATTEND_MAX_HEAD_DIM];
    for (int i = 0; i < args->n_tokens * args->n_group; i++) {
        int t = i / args->n_group, h = i % args->n_group;
        float *acc = args->acc + (size_t)i * (size_t)args->head_dim_v;
        open_query(args, args->q + (size_t)t * args->q_stride + (size_t)(h * args->head_dim_k), q);
        args->m[i] = -INFINITY;
        args->l[i] = 0;
        memset(acc, 0, (size_t)args->head_dim_v * sizeof *acc);
        for (int64_t key = args->key0; key < args->key0 + RZ_ATTEND_SPLIT; key += RZ_ATTEND_TILE) {
            struct key_range seen = visible_keys(args, t, (struct key_range){key, key + RZ_ATTEND_TILE});
            if (seen.first < seen.end) attend_tile(args, seen, q, i, acc);
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
