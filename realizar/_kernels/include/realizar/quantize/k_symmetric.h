/* Q3_K and Q6_K: blocks of sixteen groups of 16 whose scales are signed whole numbers. */
#ifndef REALIZAR_QUANTIZE_K_SYMMETRIC_H
#define REALIZAR_QUANTIZE_K_SYMMETRIC_H

#include "realizar/quantize/codes.h"
#include "realizar/quantize/importances.h"
#include "realizar/quantize/symmetric.h"

/* A block: its half float and the codes of its groups. */
typedef struct {
    uint16_t d;
    int8_t scale[LANES];
} k_symmetric_block;

/* The best that was tried; without an error if every d was too large. */
typedef struct {
    k_symmetric_block block;
    f32x16 q[LANES];
    float error;
} k_symmetric_best;

/* Rounds to the scales of a block whose d is rounded to half; `at`: its scales as a reader will see them. */
RZ_NOINLINE void k_symmetric_round(const lane_groups *in, float d, float q_end, k_symmetric_block *block, float *at,
                                   k_symmetric_best *best)
{
    f32x16 q[LANES];
    float error[LANES];
    int overflow = 0;
    d = half_scale(d, &block->d, &overflow);
    for (int g = 0; g < LANES; g++) at[g] = d * block->scale[g];
    f32x16_store(error, symmetric_round(in, 16, f32x16_load(at), q_end, q));
    float sum = sum_of(error, LANES);
    if (!overflow && sum < best->error) {
        best->error = sum, best->block = *block;
        memcpy(best->q, q, sizeof q);
    }
}

/* The best d for the q and the scales of a block, by least squares. fit: the sums of its groups. */
static float k_symmetric_solve(const symmetric_fit *fit, const k_symmetric_block *block)
{
    float xq[LANES], qq[LANES], xs = 0, ss = 0;
    f32x16_store(xq, fit->xq);
    f32x16_store(qq, fit->qq);
    for (int g = 0; g < LANES; g++) {
        xs += block->scale[g] * xq[g];
        ss += (float)(block->scale[g] * block->scale[g]) * qq[g];
    }
    return ss > 0 ? xs / ss : 0;
}

/* Codes of the groups' scales s for d, then the d that is best for their q; returns the fit of these q, and 0 if d is too
 * large. */
static int k_symmetric_step(const lane_groups *in, const float *s, float d, float q_end, float code_end,
                            symmetric_fit *fit, k_symmetric_best *best)
{
    k_symmetric_block tried;
    float at[LANES];
    int too_large = 0;
    float seen = half_scale(d, &tried.d, &too_large);
    if (too_large) return 0;
    for (int g = 0; g < LANES; g++) tried.scale[g] = (int8_t)nearest_code(s[g], seen, -code_end, code_end - 1);
    k_symmetric_round(in, d, q_end, &tried, at, best);
    *fit = symmetric_try(in, 16, symmetric_step(f32x16_load(at)), q_end);
    k_symmetric_round(in, k_symmetric_solve(fit, &tried), q_end, &tried, at, best);
    return 1;
}

/* Quantizes a block with codes in [-code_end, code_end): q + q_end as bytes, and its scales. The second round starts from
 * the scales that are best for the q of the first one. With importances, d is also tried that makes the extreme of the
 * block the last code times the last q: where others count more, or the scale of its group is not unique, the search may
 * find no d that suits both. */
RZ_NOINLINE void k_symmetric_quantize(const lane_groups *in, float q_end, float code_end, float delta, int n_steps,
                                      k_symmetric_block *block, uint8_t *codes, int *overflow)
{
    k_symmetric_best best = {.error = INFINITY};
    symmetric_fit fit = symmetric_search(in, 16, q_end, delta, n_steps, 1), unused;
    float first[LANES], sizes[LANES];
    int extreme = 0;
    for (int i = 0; i < LANES; i++) best.q[i] = f32x16_zero();
    f32x16_store(first, fit.s);
    for (int round = 0; round < 2; round++) {
        float s[LANES], by_s[LANES];
        f32x16_store(s, fit.s);
        f32x16_store(by_s, fit.qq); /* the error grows by qq (s - best s)^2 */
        float d = fit_codes(s, by_s, LANES, -code_end, code_end - 1, -code_end);
        if (!k_symmetric_step(in, s, d, q_end, code_end, &fit, &best)) break;
    }
    f32x16_store(sizes, f32x16_abs(lanes_extreme(in->x, 16)));
    for (int g = 1; g < LANES; g++) extreme = sizes[g] > sizes[extreme] ? g : extreme;
    float d = (first[extreme] < 0 ? 1 : -1) * sizes[extreme] / (q_end * code_end);
    if (in->has_importances) k_symmetric_step(in, first, d, q_end, code_end, &unused, &best);
    *overflow |= best.error == INFINITY;
    *block = best.block;
    lanes_store_codes(best.q, 16, (int)q_end, codes);
}

static void pack_q3_k(const k_symmetric_block *from, const uint8_t *q, rz_block_q3_k *to)
{
    uint8_t low[256];
    to->d = from->d;
    memset(to->scales, 0, sizeof to->scales);
    for (int g = 0; g < 16; g++) {
        int code = from->scale[g] + 32;
        to->scales[g % 8] |= (uint8_t)((code & 15) << g / 8 * 4);
        to->scales[8 + g % 4] |= (uint8_t)(code >> 4 << g / 4 * 2);
    }
    memset(to->hmask, 0, sizeof to->hmask);
    for (int i = 0; i < 256; i++) {
        to->hmask[i % 32] |= (uint8_t)(q[i] >> 2 << i / 32);
        low[i] = q[i] & 3;
    }
    pack_bit_pairs(low, to->qs);
}

static void pack_q6_k(const k_symmetric_block *from, const uint8_t *q, rz_block_q6_k *to)
{
    uint8_t high[256];
    to->d = from->d;
    memcpy(to->scales, from->scale, sizeof to->scales);
    for (int i = 0; i < 128; i++) {
        const uint8_t *first = q + i / 64 * 128 + i % 64;
        to->ql[i] = (uint8_t)((first[0] & 15) | first[64] << 4);
    }
    for (int i = 0; i < 256; i++) high[i] = q[i] >> 4;
    pack_bit_pairs(high, to->qh);
}

#define RZ_K_SYMMETRIC(name, Q_END, CODE_END, DELTA, STEPS)                                                            \
    static int quantize_##name(const float *x, const float *w, size_t k, void *out)                                    \
    {                                                                                                                  \
        rz_block_##name *to = out;                                                                                     \
        int overflow = 0;                                                                                              \
        for (size_t b = 0; b < k / 256; b++) {                                                                         \
            lane_groups in;                                                                                            \
            k_symmetric_block block;                                                                                   \
            uint8_t codes[256];                                                                                        \
            load_blocks(x + 256 * b, w ? w + 256 * b : NULL, 256, 1, 16, &in);                                         \
            k_symmetric_quantize(&in, Q_END, CODE_END, DELTA, STEPS, &block, codes, &overflow);                        \
            pack_##name(&block, codes, to + b);                                                                        \
        }                                                                                                              \
        return overflow;                                                                                               \
    }

RZ_K_SYMMETRIC(q3_k, 4, 32, 0.3f, 3)
RZ_K_SYMMETRIC(q6_k, 32, 128, 0.5f, 4)

#endif
