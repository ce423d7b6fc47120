/* The delta rules, sixteen value channels per register, and the decay; see scalar/delta.h for the definitions. */
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

/* What the kernels are compiled for: the gated rule with a decay for each head or channel, and the generalized one. */
enum { PREFETCHED = 2 }; /* tokens ahead */
enum delta_kind { DELTA_BY_HEAD, DELTA_BY_CHANNEL, DELTA_GENERALIZED };

/* Columns of the state that are computed together: n_tile tiles of `width` channels. u: the update by the current token,
 * or its values; y: the results for its query; p: those for the next token's key, or its a. */
struct delta_columns {
    float *state;
    size_t tile_step, width, n_key;
    f32x16 u[RZ_DELTA_TILES], y[RZ_DELTA_TILES], p[RZ_DELTA_TILES];
};

/* The vectors of a token for one head: `ask` is that by which the state is read before the update, k or a. */
struct delta_token {
    const float *q, *k, *b, *ask, *decay;
};

RZ_INLINE struct delta_token delta_find_token(const struct rz_delta_args *args, const struct rz_delta_unit *unit,
                                              size_t t, int kind)
{
    size_t start = unit->head_k * args->head_dim_k;
    struct delta_token token = {
        .q = args->q + t * args->ldq + start,
        .k = args->k + t * args->ldk + start,
        .decay = args->decay + t * args->lddecay + unit->decay,
    };
    token.ask = kind == DELTA_GENERALIZED ? args->a + t * args->lda + start : token.k;
    if (kind == DELTA_GENERALIZED) token.b = args->b + t * args->ldb + start;
    return token;
}

RZ_INLINE void delta_prefetch_row(const float *row, size_t n)
{
    for (size_t i = 0; i < n; i += 16) __builtin_prefetch(row + i);
}

/* Prefetches what token t adds to the work of a unit. Rows are pages apart, so the CPU does not see them coming. */
RZ_INLINE void delta_prefetch(const struct rz_delta_args *args, const struct rz_delta_unit *unit, size_t t, int kind)
{
    size_t n = args->head_dim_k;
    struct delta_token token = delta_find_token(args, unit, t, kind);
    delta_prefetch_row(token.q, n);
    delta_prefetch_row(token.k, n);
    if (kind != DELTA_BY_HEAD) delta_prefetch_row(token.decay, n);
    if (kind == DELTA_GENERALIZED) delta_prefetch_row(token.ask, n);
    if (kind == DELTA_GENERALIZED) delta_prefetch_row(token.b, n);
    delta_prefetch_row(args->v + t * args->ldv + unit->head * args->head_dim_v + unit->channel, unit->n);
}

/* One pass over the state, in which each element is loaded and stored once: update and read for the token `now`, then
 * decay and prediction for the token `next`. Either may be missing (NULL). All tiles are loaded before any is stored: for
 * keys of 128 they are 8 KiB apart, and a load waits for a store before it at such a distance. */
RZ_INLINE void delta_sweep(struct delta_columns *at, const struct delta_token *now, const struct delta_token *next,
                           int n_tile, int kind)
{
    f32x16 u[RZ_DELTA_TILES], y[RZ_DELTA_TILES], p[RZ_DELTA_TILES], old[RZ_DELTA_TILES], left = f32x16_zero();
    for (int j = 0; j < n_tile; j++) {
        u[j] = at->u[j];
        old[j] = at->p[j];
        y[j] = p[j] = f32x16_zero();
    }
    if (next) left = f32x16_set(next->decay[0]);
    for (size_t i = 0; i < at->n_key; i++) {
        if (next && kind != DELTA_BY_HEAD) left = f32x16_set(next->decay[i]);
        float *place = at->state + i * at->width;
        f32x16 s[RZ_DELTA_TILES];
        for (int j = 0; j < n_tile; j++) s[j] = f32x16_load_first(place + (size_t)j * at->tile_step, at->width);
        for (int j = 0; j < n_tile; j++) {
            if (now) {
                if (kind == DELTA_GENERALIZED) s[j] = f32x16_fma(f32x16_set(now->b[i]), old[j], s[j]);
                s[j] = f32x16_fma(f32x16_set(now->k[i]), u[j], s[j]);
                y[j] = f32x16_fma(f32x16_set(now->q[i]), s[j], y[j]);
            }
            if (next) {
                f32x16 decayed = f32x16_mul(s[j], left);
                p[j] = f32x16_fma(f32x16_set(next->ask[i]), kind == DELTA_GENERALIZED ? s[j] : decayed, p[j]);
                s[j] = decayed;
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
                           size_t width, int kind)
{
    size_t n_key = args->head_dim_k, channel = unit->head * args->head_dim_v + c;
    struct delta_columns at = {
        .state = args->state + channel * n_key, .tile_step = RZ_SCAN_TILE * n_key, .width = width, .n_key = n_key};
    for (int j = 0; j < n_tile; j++) at.u[j] = at.p[j] = f32x16_zero();
    struct delta_token now, next = delta_find_token(args, unit, 0, kind);
    delta_sweep(&at, NULL, &next, n_tile, kind);
    for (size_t t = 0; t < args->n_tokens; t++) {
        const float *v = args->v + t * args->ldv + channel;
        for (int j = 0; j < n_tile; j++) {
            at.u[j] = f32x16_load_first(v + 16 * j, width);
            if (kind != DELTA_GENERALIZED)
                at.u[j] =
                    f32x16_mul(f32x16_set(args->beta[t * args->ldbeta + unit->head]), f32x16_sub(at.u[j], at.p[j]));
        }
        now = next;
        if (t + PREFETCHED < args->n_tokens) delta_prefetch(args, unit, t + PREFETCHED, kind);
        if (t + 1 < args->n_tokens) {
            next = delta_find_token(args, unit, t + 1, kind);
            delta_sweep(&at, &now, &next, n_tile, kind);
        } else {
            delta_sweep(&at, &now, NULL, n_tile, kind);
        }
        for (int j = 0; j < n_tile; j++) f32x16_store_first(args->y + t * args->ldy + channel + 16 * j, at.y[j], width);
    }
}

RZ_INLINE void delta_units(const struct rz_delta_args *args, int kind)
{
    for (size_t i = args->first; i < args->end; i++) {
        struct rz_delta_unit unit = rz_delta_find(args, i);
        size_t c = unit.channel, end = c + unit.n;
        for (; c + RZ_DELTA_TILES * RZ_SCAN_TILE <= end; c += RZ_DELTA_TILES * RZ_SCAN_TILE)
            delta_tiles(args, &unit, c, RZ_DELTA_TILES, RZ_SCAN_TILE, kind);
        for (; c < end; c += RZ_SCAN_TILE) delta_tiles(args, &unit, c, 1, rz_scan_width(c, args->head_dim_v), kind);
    }
}

static void delta_rule_f32x16(const struct rz_delta_args *args)
{
    if (args->a)
        delta_units(args, DELTA_GENERALIZED);
    else if (args->by_channel)
        delta_units(args, DELTA_BY_CHANNEL);
    else
        delta_units(args, DELTA_BY_HEAD);
}

#endif
