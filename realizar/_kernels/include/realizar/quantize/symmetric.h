/* Scales of groups, x ≈ s * q with whole -q_end <= q < q_end, by weighted least squares.
 *
 * To given q the best s is xq / qq, which reduces the squared error by xq^2 / qq. The search tries scales around the
 * one that makes the extreme -q_end (as make_qx_quants in ggml-quants.c does), then rounds to the best and solves
 * again, which never increases the error. */
#ifndef REALIZAR_QUANTIZE_SYMMETRIC_H
#define REALIZAR_QUANTIZE_SYMMETRIC_H

#include "realizar/quantize/lanes.h"

/* The best scale of each group; the weighted sums of x q and q^2. */
typedef struct {
    f32x16 s, xq, qq;
} symmetric_fit;

/* The sums for q = round(x * step), and the scale that is best for them. */
RZ_NOINLINE symmetric_fit symmetric_try(const lane_groups *in, int n, f32x16 step, float q_end)
{
    f32x16 xq = f32x16_zero(), qq = xq;
    for (int i = 0; i < n; i++) {
        f32x16 q = lanes_round(lanes_clamp(f32x16_mul(in->x[i], step), -q_end, q_end - 1));
        f32x16 wq = f32x16_mul(in->w[i], q);
        xq = f32x16_add(xq, f32x16_mul(wq, in->x[i]));
        qq = f32x16_add(qq, f32x16_mul(wq, q));
    }
    return (symmetric_fit){lanes_ratio(xq, qq), xq, qq};
}

RZ_INLINE void symmetric_keep_better(symmetric_fit *best, const symmetric_fit *next)
{
    f32x16 was = f32x16_mul(best->s, best->xq), is = f32x16_mul(next->s, next->xq);
    best->s = f32x16_if_less(was, is, next->s, best->s);
    best->xq = f32x16_if_less(was, is, next->xq, best->xq);
    best->qq = f32x16_if_less(was, is, next->qq, best->qq);
}

/* 1 / s, or 0 where |s| is not above LEAST_RANGE. */
RZ_INLINE f32x16 symmetric_step(f32x16 s)
{
    f32x16 size = lanes_inverse(f32x16_abs(s)), zero = f32x16_zero();
    return f32x16_if_less(s, zero, f32x16_sub(zero, size), size);
}

/* n_steps on each side of the middle, delta apart, then n_rounds of rounding and solving. The middle is first and is kept
 * where others are as good: in a group with one element any step would be, but smaller scales leave more codes for the
 * other groups of a block. */
RZ_NOINLINE symmetric_fit symmetric_search(const lane_groups *in, int n, float q_end, float delta, int n_steps,
                                           int n_rounds)
{
    f32x16 zero = f32x16_zero(), over_extreme = symmetric_step(lanes_extreme(in->x, n));
    symmetric_fit best = {zero, zero, zero};
    for (int i = 0; i <= 2 * n_steps; i++) {
        int k = i <= n_steps ? i : n_steps - i;
        f32x16 step = f32x16_mul(f32x16_set(-(q_end + delta * (float)k)), over_extreme);
        symmetric_fit fit = symmetric_try(in, n, step, q_end);
        symmetric_keep_better(&best, &fit);
    }
    if (in->has_importances) {
        f32x16 steps[N_IMPORTANT_STEPS];
        lanes_important_steps(in->x, in->w, n, f32x16_mul(f32x16_set(-q_end), over_extreme), q_end, steps);
        for (int k = 0; k < N_IMPORTANT_STEPS; k++) {
            symmetric_fit fit = symmetric_try(in, n, steps[k], q_end);
            symmetric_keep_better(&best, &fit);
        }
    }
    for (int k = 0; k < n_rounds; k++) {
        symmetric_fit fit = symmetric_try(in, n, symmetric_step(best.s), q_end);
        symmetric_keep_better(&best, &fit);
    }
    return best;
}

/* q[n] for given s; returns the squared error of each group. */
RZ_NOINLINE f32x16 symmetric_round(const lane_groups *in, int n, f32x16 s, float q_end, f32x16 *q)
{
    f32x16 step = symmetric_step(s), error = f32x16_zero();
    for (int i = 0; i < n; i++) {
        q[i] = lanes_round(lanes_clamp(f32x16_mul(in->x[i], step), -q_end, q_end - 1));
        f32x16 difference = f32x16_sub(f32x16_mul(s, q[i]), in->x[i]);
        error = f32x16_add(error, f32x16_mul(in->w[i], f32x16_mul(difference, difference)));
    }
    return error;
}

#endif
