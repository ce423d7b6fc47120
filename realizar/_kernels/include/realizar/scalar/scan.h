/* Selective scans, channel by channel: a decay for each state (Mamba), or one for all states of a head (Mamba 2). */
#ifndef REALIZAR_SCALAR_SCAN_H
#define REALIZAR_SCALAR_SCAN_H

#include "realizar/scalar/math.h"
#include "realizar/table.h"

/* softplus(dt + bias): the time step of head `head` at token t. */
static inline float scan_step(const struct rz_scan_args *args, size_t t, size_t head)
{
    float dt = args->dt[t * args->lddt + head];
    return softplus_f32(args->dt_bias ? dt + args->dt_bias[head] : dt);
}

/* A. Gu, T. Dao, Mamba, 2023, algorithm 2: h = exp(dt a) h + dt x b, y = sum h c + d x; one fma chain over the states. */
static void scan_channels_f32(const struct rz_scan_args *args)
{
    for (size_t channel = args->first; channel < args->end; channel++) {
        size_t lane = channel % RZ_SCAN_TILE, tile = channel - lane, width = rz_scan_width(tile, args->n_head);
        const float *a = args->a + tile * args->n_state + lane;
        float *h = args->state + tile * args->n_state + lane;
        for (size_t t = 0; t < args->n_tokens; t++) {
            const float *b = args->b + t * args->ldb, *c = args->c + t * args->ldc;
            float x = args->x[t * args->ldx + channel], dt = scan_step(args, t, channel), moved = x * dt, y = 0;
            for (size_t s = 0; s < args->n_state; s++) {
                h[s * width] = fmaf(h[s * width], exp_f32(dt * a[s * width]), moved * b[s]);
                y = fmaf(h[s * width], c[s], y);
            }
            args->y[t * args->ldy + channel] = fmaf(args->d[channel], x, y);
        }
    }
}

/* T. Dao, A. Gu, Transformers are SSMs, 2024, section 7: the same with one decay for all states of a head. */
static void scan_heads_f32(const struct rz_scan_args *args)
{
    size_t n_state = args->n_state, dim = args->head_dim, per_group = args->n_head / args->n_group;
    for (size_t i = args->first * dim; i < args->end * dim; i++) {
        size_t head = i / dim, p = i % dim, lane = p % RZ_SCAN_TILE, width = rz_scan_width(p - lane, dim);
        float *h = args->state + (i - lane) * n_state + lane;
        for (size_t t = 0; t < args->n_tokens; t++) {
            const float *b = args->b + t * args->ldb + head / per_group * n_state;
            const float *c = args->c + t * args->ldc + head / per_group * n_state;
            float x = args->x[t * args->ldx + i], dt = scan_step(args, t, head), moved = x * dt, y = 0;
            float decay = exp_f32(dt * args->a[head]);
            for (size_t s = 0; s < n_state; s++) {
                h[s * width] = fmaf(h[s * width], decay, moved * b[s]);
                y = fmaf(h[s * width], c[s], y);
            }
            args->y[t * args->ldy + i] = fmaf(args->d[head], x, y);
        }
    }
}

#endif
