/* Blocks of logits, sixteen elements at a time; defined in scalar/logits.h. */
#ifndef REALIZAR_WIDE_LOGITS_H
#define REALIZAR_WIDE_LOGITS_H

#include "realizar/table.h"
#include "realizar/wide/softmax.h"

/* Prefetch distance in logits: sixteen rows do not fit in a core's caches, and prefetching takes 3/4 of the time. */
enum { LOGITS_AHEAD = 2048 };
enum { BLOCK_STEPS = RZ_LOGITS_BLOCK / 16 };
_Static_assert((int)BLOCK_STEPS == (int)EXP_IN_STEP, "a block of logits is what exp_in_step takes at once");

/* A block of n elements, padded with -Inf. */
RZ_INLINE void load_block(const float *x, size_t n, f32x16 *v)
{
    f32x16 least = f32x16_set(-INFINITY);
    for (int i = 0; i < BLOCK_STEPS; i++) {
        size_t at = 16 * (size_t)i;
        v[i] = at < n ? below(f32x16_load_first(x + at, n - at), n - at, least) : least;
    }
}

RZ_INLINE f32x16 pairs_of(const f32x16 *v) { return f32x16_add(f32x16_add(v[0], v[1]), f32x16_add(v[2], v[3])); }

static void logit_sums_f32x16(const float *x, size_t n, float *max, float *sum)
{
    for (size_t i = 0; i < n; i += RZ_LOGITS_BLOCK) {
        f32x16 v[BLOCK_STEPS], most = f32x16_set(-INFINITY);
        for (int j = 0; j < BLOCK_STEPS; j++) __builtin_prefetch(x + i + LOGITS_AHEAD + 16 * j);
        load_block(x + i, n - i, v);
        for (int j = 0; j < BLOCK_STEPS; j++) most = f32x16_max(v[j], most);
        *max = f32x16_largest(most) + 0.0f;
        f32x16 base = f32x16_set(rz_block_base(*max++));
        for (int j = 0; j < BLOCK_STEPS; j++) v[j] = f32x16_sub(v[j], base);
        exp_in_step(v, BLOCK_STEPS);
        *sum++ = f32x16_sum(pairs_of(v));
    }
}

static void logit_falls_f32x16(const float *x, size_t n, const float *max, float *fall)
{
    for (size_t i = 0; i < n; i += RZ_LOGITS_BLOCK) {
        f32x16 v[BLOCK_STEPS], e[BLOCK_STEPS], base = f32x16_set(rz_block_base(*max++));
        load_block(x + i, n - i, v);
        for (int j = 0; j < BLOCK_STEPS; j++) v[j] = f32x16_sub(base, v[j]);
        for (int j = 0; j < BLOCK_STEPS; j++) e[j] = f32x16_sub(f32x16_zero(), v[j]);
        exp_in_step(e, BLOCK_STEPS);
        for (int j = 0; j < BLOCK_STEPS; j++) v[j] = f32x16_mul(e[j], f32x16_min(f32x16_set(RZ_FALL_MAX), v[j]));
        *fall++ = f32x16_sum(pairs_of(v));
    }
}

static void logit_weights_f32x16(const float *x, float peak, size_t n, float *y)
{
    for (size_t i = 0; i < n; i += RZ_LOGITS_BLOCK) {
        f32x16 v[BLOCK_STEPS];
        load_block(x + i, n - i, v);
        for (int j = 0; j < BLOCK_STEPS; j++) v[j] = f32x16_sub(v[j], f32x16_set(peak));
        exp_in_step(v, BLOCK_STEPS);
        for (size_t j = 0; j < BLOCK_STEPS && i + 16 * j < n; j++)
            f32x16_store_first(y + i + 16 * j, v[j], n - i - 16 * j);
    }
}

#endif
