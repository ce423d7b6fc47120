/* Selective scans, sixteen channels at a time; defined in scalar/scan.h. */
#ifndef REALIZAR_WIDE_SCAN_H
#define REALIZAR_WIDE_SCAN_H

#include "realizar/table.h"
#include "realizar/wide/math.h"

/* States [s, s + n) of a tile, n at most EXP_IN_STEP: h = exp(dt a) h + moved b; returns y + sum h c. */
RZ_INLINE f32x16 scan_states(float *h, const float *a, f32x16 dt, f32x16 moved, const float *b, const float *c,
                             f32x16 y, size_t width, int n)
{
    f32x16 decay[EXP_IN_STEP];
    for (int i = 0; i < n; i++)
        decay[i] = f32x16_min(f32x16_set(RZ_EXP_MAX), f32x16_mul(dt, f32x16_load_first(a + (size_t)i * width, width)));
    exp_in_step(decay, n);
    for (int i = 0; i < n; i++) {
        float *at = h + (size_t)i * width;
        f32x16 next = f32x16_fma(f32x16_load_first(at, width), decay[i], f32x16_mul(moved, f32x16_set(b[i])));
        f32x16_store_first(at, next, width);
        y = f32x16_fma(next, f32x16_set(c[i]), y);
    }
    return y;
}

/* All tokens of one tile of channels. */
RZ_INLINE void scan_tile(const struct rz_scan_args *args, size_t tile, size_t width)
{
    const float *a = args->a + tile * args->n_state;
    float *h = args->state + tile * args->n_state;
    f32x16 d = f32x16_load_first(args->d + tile, width);
    for (size_t t = 0; t < args->n_tokens; t++) {
        const float *b = args->b + t * args->ldb, *c = args->c + t * args->ldc;
        f32x16 x = f32x16_load_first(args->x + t * args->ldx + tile, width), y = f32x16_zero();
        f32x16 dt = f32x16_load_first(args->dt + t * args->lddt + tile, width);
        if (args->dt_bias) dt = f32x16_add(dt, f32x16_load_first(args->dt_bias + tile, width));
        dt = softplus_f32x16(dt);
        f32x16 moved = f32x16_mul(x, dt);
        size_t s = 0;
        for (; s + EXP_IN_STEP <= args->n_state; s += EXP_IN_STEP)
            y = scan_states(h + s * width, a + s * width, dt, moved, b + s, c + s, y, width, EXP_IN_STEP);
        for (; s < args->n_state; s++)
            y = scan_states(h + s * width, a + s * width, dt, moved, b + s, c + s, y, width, 1);
        f32x16_store_first(args->y + t * args->ldy + tile, f32x16_fma(d, x, y), width);
    }
}

static void scan_channels_f32x16(const struct rz_scan_args *args)
{
    for (size_t tile = args->first; tile < args->end; tile += RZ_SCAN_TILE) {
        size_t width = rz_scan_width(tile, args->n_head);
        if (width == RZ_SCAN_TILE)
            scan_tile(args, tile, RZ_SCAN_TILE);
        else
            scan_tile(args, tile, width);
    }
}

/* The time steps and decays of a head are computed for this many tokens at a time. */
enum { SCAN_TOKENS = 64 };
struct scan_steps {
    float dt[SCAN_TOKENS], decay[SCAN_TOKENS];
};

static void find_steps(const struct rz_scan_args *args, size_t head, size_t t0, size_t n, struct scan_steps *out)
{
    for (size_t t = 0; t < n; t++) {
        float dt = args->dt[(t0 + t) * args->lddt + head];
        out->dt[t] = args->dt_bias ? dt + args->dt_bias[head] : dt;
    }
    for (size_t t = 0; t < n; t += 16) {
        f32x16 dt = softplus_f32x16(f32x16_load_first(out->dt + t, n - t));
        f32x16_store(out->dt + t, dt);
        f32x16_store(out->decay + t, exp_f32x16(f32x16_mul(dt, f32x16_set(args->a[head]))));
    }
}

/* n_token tokens from t0 + k on, for n_tile tiles of `width` channels from channel p of a head on: each number of the
 * state is loaded and stored once. */
RZ_INLINE void scan_block(const struct rz_scan_args *args, const struct scan_steps *steps, size_t head, size_t p,
                          size_t t0, size_t k, int n_token, int n_tile, size_t width)
{
    size_t n_state = args->n_state, channel = head * args->head_dim + p, group = head / (args->n_head / args->n_group);
    float *h = args->state + channel * n_state;
    const float *b = args->b + (t0 + k) * args->ldb + group * n_state;
    const float *c = args->c + (t0 + k) * args->ldc + group * n_state;
    f32x16 moved[RZ_SCAN_TOKENS][RZ_SCAN_TILES], y[RZ_SCAN_TOKENS][RZ_SCAN_TILES], decay[RZ_SCAN_TOKENS];
    for (int i = 0; i < n_token; i++) {
        const float *x = args->x + (t0 + k + (size_t)i) * args->ldx + channel;
        decay[i] = f32x16_set(steps->decay[k + (size_t)i]);
        for (int j = 0; j < n_tile; j++) {
            moved[i][j] = f32x16_mul(f32x16_load_first(x + 16 * j, width), f32x16_set(steps->dt[k + (size_t)i]));
            y[i][j] = f32x16_zero();
        }
    }
    for (size_t s = 0; s < n_state; s++)
        for (int j = 0; j < n_tile; j++) {
            float *at = h + (size_t)j * RZ_SCAN_TILE * n_state + s * width;
            f32x16 next = f32x16_load_first(at, width);
            for (int i = 0; i < n_token; i++) {
                f32x16 in = f32x16_mul(moved[i][j], f32x16_set(b[(size_t)i * args->ldb + s]));
                next = f32x16_fma(next, decay[i], in);
                y[i][j] = f32x16_fma(next, f32x16_set(c[(size_t)i * args->ldc + s]), y[i][j]);
            }
            f32x16_store_first(at, next, width);
        }
    for (int i = 0; i < n_token; i++)
        for (int j = 0; j < n_tile; j++) {
            size_t t = t0 + k + (size_t)i, at = channel + 16 * (size_t)j;
            f32x16 x = f32x16_load_first(args->x + t * args->ldx + at, width);
            f32x16_store_first(args->y + t * args->ldy + at, f32x16_fma(f32x16_set(args->d[head]), x, y[i][j]), width);
        }
}

/* n tokens from t0 on of n_tile tiles of a head. */
RZ_INLINE void scan_tiles(const struct rz_scan_args *args, const struct scan_steps *steps, size_t head, size_t p,
                          size_t t0, size_t n, int n_tile, size_t width)
{
    size_t k = 0;
    for (; k + RZ_SCAN_TOKENS <= n; k += RZ_SCAN_TOKENS)
        scan_block(args, steps, head, p, t0, k, RZ_SCAN_TOKENS, n_tile, width);
    for (; k < n; k++) scan_block(args, steps, head, p, t0, k, 1, n_tile, width);
}

static void scan_heads_f32x16(const struct rz_scan_args *args)
{
    size_t dim = args->head_dim;
    struct scan_steps steps;
    for (size_t head = args->first; head < args->end; head++)
        for (size_t t0 = 0; t0 < args->n_tokens; t0 += SCAN_TOKENS) {
            size_t n = args->n_tokens - t0 < SCAN_TOKENS ? args->n_tokens - t0 : SCAN_TOKENS, p = 0;
            find_steps(args, head, t0, n, &steps);
            for (; p + RZ_SCAN_TILES * RZ_SCAN_TILE <= dim; p += RZ_SCAN_TILES * RZ_SCAN_TILE)
                scan_tiles(args, &steps, head, p, t0, n, RZ_SCAN_TILES, RZ_SCAN_TILE);
            for (; p < dim; p += RZ_SCAN_TILE) scan_tiles(args, &steps, head, p, t0, n, 1, rz_scan_width(p, dim));
        }
}

#endif
