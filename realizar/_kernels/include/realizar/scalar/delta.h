/* The gated and the generalized delta rule, one value channel after another, and the decay of their state. */
#ifndef REALIZAR_SCALAR_DELTA_H
#define REALIZAR_SCALAR_DELTA_H

#include "realizar/scalar/math.h"
#include "realizar/table.h"

static void decay_f32(const float *x, const float *a, const float *b, float bound, size_t n, float *y)
{
    for (size_t i = 0; i < n; i++) {
        float step = x[i] + b[i];
        y[i] = exp_f32(bound != 0 ? bound * sigmoid_f32(a[i] * step) : a[i] * softplus_f32(step));
    }
}

/* S. Yang, J. Kautz, A. Hatamizadeh, Gated Delta Networks, 2024, equation 10: S' = S decay, S = S' + beta (v - S' k) k^T,
 * y = S q; two fma chains over the key channels. s: the state of value channel c, `width` floats from number to number. */
static float gated_step(const struct rz_delta_args *args, const struct rz_delta_unit *at, size_t c, size_t t, float *s,
                        size_t width)
{
    size_t n_key = args->head_dim_k;
    const float *k = args->k + t * args->ldk + at->head_k * n_key, *q = args->q + t * args->ldq + at->head_k * n_key;
    const float *decay = args->decay + t * args->lddecay + at->decay;
    float p = 0, y = 0;
    for (size_t i = 0; i < n_key; i++) {
        s[i * width] = s[i * width] * decay[args->by_channel ? i : 0];
        p = fmaf(k[i], s[i * width], p);
    }
    float v = args->v[t * args->ldv + at->head * args->head_dim_v + c];
    float u = args->beta[t * args->ldbeta + at->head] * (v - p);
    for (size_t i = 0; i < n_key; i++) {
        s[i * width] = fmaf(k[i], u, s[i * width]);
        y = fmaf(q[i], s[i * width], y);
    }
    return y;
}

/* B. Peng et al., RWKV-7 "Goose", 2025, section 4: S = S decay + (S a) b^T + v k^T, y = S q. */
static float generalized_step(const struct rz_delta_args *args, const struct rz_delta_unit *at, size_t c, size_t t,
                              float *s, size_t width)
{
    size_t n_key = args->head_dim_k, start = at->head_k * n_key;
    const float *q = args->q + t * args->ldq + start, *k = args->k + t * args->ldk + start;
    const float *a = args->a + t * args->lda + start, *b = args->b + t * args->ldb + start;
    const float *decay = args->decay + t * args->lddecay + at->decay;
    float v = args->v[t * args->ldv + at->head * args->head_dim_v + c], p = 0, y = 0;
    for (size_t i = 0; i < n_key; i++) {
        p = fmaf(a[i], s[i * width], p);
        s[i * width] = s[i * width] * decay[i];
    }
    for (size_t i = 0; i < n_key; i++) {
        s[i * width] = fmaf(k[i], v, fmaf(b[i], p, s[i * width]));
        y = fmaf(q[i], s[i * width], y);
    }
    return y;
}

static void delta_rule_f32(const struct rz_delta_args *args)
{
    for (size_t unit = args->first; unit < args->end; unit++) {
        struct rz_delta_unit at = rz_delta_find(args, unit);
        for (size_t c = at.channel; c < at.channel + at.n; c++) {
            size_t lane = c % RZ_SCAN_TILE, width = rz_scan_width(c - lane, args->head_dim_v);
            float *s = args->state + (at.head * args->head_dim_v + c - lane) * args->head_dim_k + lane;
            for (size_t t = 0; t < args->n_tokens; t++)
                args->y[t * args->ldy + at.head * args->head_dim_v + c] =
                    args->a ? generalized_step(args, &at, c, t, s, width) : gated_step(args, &at, c, t, s, width);
        }
    }
}

#endif
