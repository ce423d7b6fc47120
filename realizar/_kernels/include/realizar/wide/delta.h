/* The gated delta rule, sixteen value channels per register, and the decay; see scalar/delta.h for the definitions. */
#ifndef REALIZAR_WIDE_DELTA_H
#define REALIZAR_WIDE_DELTA_H

#include "realizar/table.h"
#include "realizar/wide/math.h"

static void decay_f32x16(const float *x, const float *a, const float *b, float bound, size_t n, float *y)
{
    for (size_t i = 0; i < n; i += 16) {
        f32x16 step = f32x16_add(f32x16_load_first(x + i, n - i), f32x16_load_first(b + i, n - i));
        f32x16 each = f32x16_load_first(a + i, n - i);
        f32x16 log = bound != 0 ? f32x16_mul(f32x16_set(bound), sigmoid_f32x16(f32x16_mul(each, step)))
                                : f32x16_mul(each, softplus_f32x16(step));
        f32x16_store_first(y + i, exp_f32x16(log), n - i);
    }
}

/* Columns of the state that are computed together: n_tile tiles of `width` channels. u: the update by the current token;
 * y and p: the results for its query and for the next token's key. */
struct delta_columns {
    float *state;
    size_t tile_step, width, n_key;
    f32x16 u[RZ_DELTA_TILES], y[RZ_DELTA_TILES], p[RZ_DELTA_TILES];
};

/* One pass over the state, in which each element is loaded and stored once: update and read for the current token (k, q),
 * then decay and prediction for the next one (its key and decay). Either may be missing (NULL). All tiles are loaded before
 * any is stored: for keys of 128 they are 8 KiB apart, and a load waits for a store before it at such a distance. */
RZ_INLINE void delta_sweep(struct delta_columns *at, const float *k, const float *q, const float *next_k,
                           const float *decay, int n_tile, int by_channel)
{
    f32x16 u[RZ_DELTA_TILES], y[RZ_DELTA_TILES], p[RZ_DELTA_TILES], left = f32x16_zero();
    for (int j = 0; j < n_tile; j++) {
        u[j] = at->u[j];
        y[j] = p[j] = f32x16_zero();
    }
    if (next_k) left = f32x16_set(decay[0]);
    for (size_t i = 0; i < at->n_key; i++) {
        if (next_k && by_channel) left = f32x16_set(decay[i]);
        float *place = at->state + i * at->width;
        f32x16 s[RZ_DELTA_TILES];
        for (int j = 0; j < n_tile; j++) s[j] = f32x16_load_first(place + (size_t)j * at->tile_step, at->width);
        for (int j = 0; j < n_tile; j++) {
            if (k) {
                s[j] = f32x16_fma(f32x16_set(k[i]), u[j], s[j]);
                y[j] = f32x16_fma(f32x16_set(q[i]), s[j], y[j]);
            }
            if (next_k) {
                s[j] = f32x16_mul(s[j], left);
                p[j] = f32x16_fma(f32x16_set(next_k[i]), s[j], p[j]);
            }
            f32x16_store_first(place + (size_t)j * at->tile_step, s[j], at->width);
        }
    }
    for (int j = 0; j < n_tile; j++) {
        at->y[j] = y[j];
        at->p[j] = p[j];
    }
}

/* All tokens for n_tile tiles of `width` channels from channel c of a head on. */
RZ_INLINE void delta_tiles(const struct rz_delta_args *args, const struct rz_delta_unit *unit, size_t c, int n_tile,
                           size_t width, int by_channel)
{
    size_t n_key = args->head_dim_k, channel = unit->head * args->head_dim_v + c;
    const float *k = args->k + unit->head_k * n_key, *q = args->q + unit->head_k * n_key;
    const float *decay = args->decay + unit->decay, *beta = args->beta + unit->head;
    struct delta_columns at = {
        .state = args->state + channel * n_key, .tile_step = RZ_SCAN_TILE * n_key, .width = width, .n_key = n_key};
    delta_sweep(&at, NULL, NULL, k, decay, n_tile, by_channel);
    for (size_t t = 0; t < args->n_tokens; t++, k += args->ldk, q += args->ldq) {
        const float *v = args->v + t * args->ldv + channel;
        f32x16 b = f32x16_set(beta[t * args->ldbeta]);
        for (int j = 0; j < n_tile; j++)
            at.u[j] = f32x16_mul(b, f32x16_sub(f32x16_load_first(v + 16 * j, width), at.p[j]));
        if (t + 1 < args->n_tokens)
            delta_sweep(&at, k, q, k + args->ldk, decay + (t + 1) * args->lddecay, n_tile, by_channel);
        else
            delta_sweep(&at, k, q, NULL, NULL, n_tile, by_channel);
        for (int j = 0; j < n_tile; j++) f32x16_store_first(args->y + t * args->ldy + channel + 16 * j, at.y[j], width);
    }
}

RZ_INLINE void delta_units(const struct rz_delta_args *args, int by_channel)
{
    for (size_t i = args->first; i < args->end; i++) {
        struct rz_delta_unit unit = rz_delta_find(args, i);
        size_t c = unit.channel, end = c + unit.n;
        for (; c + RZ_DELTA_TILES * RZ_SCAN_TILE <= end; c += RZ_DELTA_TILES * RZ_SCAN_TILE)
            delta_tiles(args, &unit, c, RZ_DELTA_TILES, RZ_SCAN_TILE, by_channel);
        for (; c < end; c += RZ_SCAN_TILE)
            delta_tiles(args, &unit, c, 1, rz_scan_width(c, args->head_dim_v), by_channel);
    }
}

static void delta_rule_f32x16(const struct rz_delta_args *args)
{
    if (args->by_channel)
        delta_units(args, 1);
    else
        delta_units(args, 0);
}

#endif
