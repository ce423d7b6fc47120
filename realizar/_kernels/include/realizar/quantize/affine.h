/* Scales and minima of groups, x ≈ s * q - m with whole 0 <= q <= q_max, by weighted least squares.
 *
 * A step a and an offset b give q = round(a x + b); to given q, the best s and m solve two linear equations. The search
 * tries steps around the one that fits the extremes (as make_qkx2_quants in ggml-quants.c does) and then repeats
 * rounding and solving from the best, which never increases the error. */
#ifndef REALIZAR_QUANTIZE_AFFINE_H
#define REALIZAR_QUANTIZE_AFFINE_H

#include "realizar/quantize/lanes.h"

/* What the error of a group depends on: weighted sums of y, q, q^2 and y q. */
typedef struct {
    f32x16 w, y, q, qq, yq;
} affine_sums;

/* y[n] = x - low, where low = min(x, 0); its weighted values; sums over the weights. */
typedef struct {
    f32x16 y[LONGEST_GROUP], wy[LONGEST_GROUP];
    f32x16 low, range, w_sum, y_sum;
} affine_group;

/* s and m of each group, and by how much they reduce the squared error of s = 0. */
typedef struct {
    f32x16 s, m, gain;
} affine_fit;

RZ_NOINLINE void affine_begin(const lane_groups *in, int n, affine_group *out)
{
    f32x16 low = f32x16_zero(), high = in->x[0];
    for (int i = 0; i < n; i++) {
        low = f32x16_min(low, in->x[i]);
        high = f32x16_max(high, in->x[i]);
    }
    f32x16 w_sum = f32x16_zero(), y_sum = f32x16_zero();
    for (int i = 0; i < n; i++) {
        out->y[i] = f32x16_sub(in->x[i], low);
        out->wy[i] = f32x16_mul(in->w[i], out->y[i]);
        w_sum = f32x16_add(w_sum, in->w[i]);
        y_sum = f32x16_add(y_sum, out->wy[i]);
    }
    out->low = low, out->range = f32x16_sub(high, low), out->w_sum = w_sum, out->y_sum = y_sum;
}

/* The sums for q = round(step * y + offset). */
RZ_NOINLINE affine_sums affine_try(const lane_groups *in, const affine_group *g, int n, f32x16 step, f32x16 offset,
                                   float q_max)
{
    f32x16 q_sum = f32x16_zero(), qq = q_sum, yq = q_sum;
    for (int i = 0; i < n; i++) {
        f32x16 q = lanes_round(lanes_clamp(f32x16_add(f32x16_mul(g->y[i], step), offset), 0, q_max));
        f32x16 wq = f32x16_mul(in->w[i], q);
        q_sum = f32x16_add(q_sum, wq);
        qq = f32x16_add(qq, f32x16_mul(wq, q));
        yq = f32x16_add(yq, f32x16_mul(g->wy[i], q));
    }
    return (affine_sums){g->w_sum, g->y_sum, q_sum, qq, yq};
}

/* The best s and m for the sums of a step. A format whose m must be >= 0 gets 0 where it would be negative. */
RZ_INLINE affine_fit affine_solve(const affine_sums *a, f32x16 step, f32x16 low, int any_sign)
{
    f32x16 det = f32x16_sub(f32x16_mul(a->w, a->qq), f32x16_mul(a->q, a->q));
    f32x16 s = lanes_ratio(f32x16_sub(f32x16_mul(a->w, a->yq), f32x16_mul(a->y, a->q)), det);
    /* If all q that count are equal, the equations are one, and det is what rounding left. */
    f32x16 least = f32x16_mul(f32x16_set(1e-6f), f32x16_mul(a->w, a->qq));
    s = f32x16_if_less(least, det, s, lanes_inverse(step));
    f32x16 m =
        lanes_ratio(f32x16_sub(f32x16_mul(s, a->q), a->y), a->w); /* of y; the best for s, also if s is not exact */
    if (!any_sign) {
        f32x16 through_zero = lanes_ratio(f32x16_add(a->yq, f32x16_mul(low, a->q)), a->qq);
        s = f32x16_if_less(m, low, through_zero, s);
        m = f32x16_max(m, low);
    }
    s = f32x16_max(s, f32x16_zero());
    /* s (2 yq - s qq + 2 m q) - m (2 y + m w) */
    f32x16 two_m = f32x16_add(m, m), two_yq = f32x16_add(a->yq, a->yq), two_y = f32x16_add(a->y, a->y);
    f32x16 by_s = f32x16_add(f32x16_sub(two_yq, f32x16_mul(s, a->qq)), f32x16_mul(two_m, a->q));
    f32x16 by_m = f32x16_add(two_y, f32x16_mul(m, a->w));
    return (affine_fit){s, f32x16_sub(m, low), f32x16_sub(f32x16_mul(s, by_s), f32x16_mul(m, by_m))};
}

/* Takes the lanes of `next` that are better. */
RZ_INLINE void affine_keep_better(affine_fit *best, affine_sums *sums, const affine_fit *next, const affine_sums *of)
{
    f32x16 was = best->gain;
    best->s = f32x16_if_less(was, next->gain, next->s, best->s);
    best->m = f32x16_if_less(was, next->gain, next->m, best->m);
    best->gain = f32x16_if_less(was, next->gain, next->gain, was);
    sums->q = f32x16_if_less(was, next->gain, of->q, sums->q);
    sums->qq = f32x16_if_less(was, next->gain, of->qq, sums->qq);
    sums->yq = f32x16_if_less(was, next->gain, of->yq, sums->yq);
}

/* How the search goes: steps q_max + first, + delta, ...; then rounds of rounding and solving. */
typedef struct {
    float first, delta;
    int n_steps, n_rounds, any_sign;
} affine_search;

/* The best fit found, and its sums. */
RZ_NOINLINE affine_fit affine_search_fit(const lane_groups *in, const affine_group *g, int n, float q_max,
                                         affine_search how, affine_sums *sums)
{
    f32x16 none = f32x16_zero(), over_range = lanes_inverse(g->range);
    affine_fit best = {none, f32x16_sub(none, g->low), none};
    *sums = (affine_sums){g->w_sum, g->y_sum, none, none, none};
    for (int k = 0; k < how.n_steps; k++) {
        f32x16 step = f32x16_mul(f32x16_set(q_max + how.first + how.delta * (float)k), over_range);
        affine_sums tried = affine_try(in, g, n, step, none, q_max);
        affine_fit fit = affine_solve(&tried, step, g->low, how.any_sign);
        affine_keep_better(&best, sums, &fit, &tried);
    }
    if (in->has_importances) {
        f32x16 steps[N_IMPORTANT_STEPS];
        lanes_important_steps(g->y, in->w, n, f32x16_mul(f32x16_set(q_max), over_range), q_max, steps);
        for (int k = 0; k < N_IMPORTANT_STEPS; k++) {
            affine_sums tried = affine_try(in, g, n, steps[k], none, q_max);
            affine_fit fit = affine_solve(&tried, steps[k], g->low, how.any_sign);
            affine_keep_better(&best, sums, &fit, &tried);
        }
    }
    for (int k = 0; k < how.n_rounds; k++) {
        f32x16 step = lanes_inverse(best.s);
        affine_sums tried = affine_try(in, g, n, step, f32x16_mul(f32x16_add(best.m, g->low), step), q_max);
        affine_fit fit = affine_solve(&tried, step, g->low, how.any_sign);
        affine_keep_better(&best, sums, &fit, &tried);
    }
    return best;
}

/* q[n] for given s and m; returns the squared error of each group. */
RZ_NOINLINE f32x16 affine_round(const lane_groups *in, int n, f32x16 s, f32x16 m, float q_max, f32x16 *q)
{
    f32x16 step = lanes_inverse(s), error = f32x16_zero();
    for (int i = 0; i < n; i++) {
        q[i] = lanes_round(lanes_clamp(f32x16_mul(f32x16_add(in->x[i], m), step), 0, q_max));
        f32x16 difference = f32x16_sub(f32x16_sub(f32x16_mul(s, q[i]), m), in->x[i]);
        error = f32x16_add(error, f32x16_mul(in->w[i], f32x16_mul(difference, difference)));
    }
    return error;
}

#endif
