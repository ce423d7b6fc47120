/* Q2_K, Q4_K, Q5_K: blocks of 256 whose groups have whole numbers for scale and minimum. */
#ifndef REALIZAR_QUANTIZE_K_AFFINE_H
#define REALIZAR_QUANTIZE_K_AFFINE_H

#include "realizar/quantize/affine.h"
#include "realizar/quantize/codes.h"
#include "realizar/quantize/importances.h"

/* A format: n elements in each of the groups, the greatest q and code, and how to search. */
typedef struct {
    int n;
    float q_max, code_max;
    affine_search search;
} k_affine_format;

/* One of the blocks whose groups fill the lanes: its half floats and the codes of its groups. */
typedef struct {
    uint16_t d, dmin;
    uint8_t scale[LANES], min[LANES];
} k_affine_block;

/* The lanes [first, first + n_groups) of a vector belong to a block; all in arrays, since blocks are not in lanes. */
typedef struct {
    float s[LANES], m[LANES], error[LANES];
} k_affine_lanes;

/* Chooses d, dmin and the codes of a block from the best fits of its groups and the sums of their q. First the scales:
 * with the best m for each s, the error grows by (qq - q^2 / w) (s - best s)^2, or by qq (s - best s)^2 where m is 0 and
 * cannot follow, or everywhere unless m_follows; then the minima, for those scales. Returns nonzero if d or dmin is too
 * large. */
RZ_NOINLINE int k_affine_codes(const affine_fit *fit, const affine_sums *sums, f32x16 low, int first, int n_groups,
                               float code_max, int m_follows, k_affine_block *block, k_affine_lanes *out)
{
    int overflow = 0;

    float s[LANES], w[LANES], x[LANES], q[LANES], by_s[LANES], wanted_m[LANES];
    f32x16_store(s, fit->s);
    f32x16_store(w, sums->w);
    f32x16_store(q, sums->q);
    f32x16_store(x, f32x16_add(sums->y, f32x16_mul(low, sums->w)));
    f32x16 follows = f32x16_sub(sums->qq, lanes_ratio(f32x16_mul(sums->q, sums->q), sums->w));
    follows = f32x16_max(follows, f32x16_mul(f32x16_set(1e-3f), sums->qq));
    f32x16_store(by_s, f32x16_if_less(f32x16_zero(), m_follows ? fit->m : f32x16_zero(), follows, sums->qq));
    float d = half_scale(fit_codes(s + first, by_s + first, n_groups, 0, code_max, code_max), &block->d, &overflow);
    for (int g = 0; g < n_groups; g++) {
        int lane = first + g;
        float code = nearest_code(s[lane], d, 0, code_max);
        block->scale[g] = (uint8_t)code;
        out->s[lane] = d * code;
        float m = w[lane] > 0 ? (q[lane] * out->s[lane] - x[lane]) / w[lane] : 0;
        wanted_m[g] = m > 0 ? m : 0;
    }
    float dmin = half_scale(fit_codes(wanted_m, w + first, n_groups, 0, code_max, code_max), &block->dmin, &overflow);
    for (int g = 0; g < n_groups; g++) {
        float code = nearest_code(wanted_m[g], dmin, 0, code_max);
        block->min[g] = (uint8_t)code;
        out->m[first + g] = dmin * code;
    }
    return overflow;
}

/* Quantizes the groups in the lanes: q as bytes for each group, and the blocks. Three rounds start from the best fits;
 * with importances, a fourth does not rely on minima: where few elements count, m follows any s, but only if m > 0. A
 * block is given up when a scale is too large, since the next round would start from it. */
RZ_NOINLINE void k_affine_quantize(const lane_groups *in, k_affine_format format, int n_blocks, k_affine_block *blocks,
                                   uint8_t *codes, int *overflow)
{
    const int n = format.n, n_groups = LANES / n_blocks;
    affine_group group;
    affine_sums sums;
    f32x16 best_q[LONGEST_GROUP], q[LONGEST_GROUP];
    float best_error[2] = {INFINITY, INFINITY};
    int is_given_up[2] = {0, 0};
    affine_begin(in, n, &group);
    affine_fit fit = affine_search_fit(in, &group, n, format.q_max, format.search, &sums), first_fit = fit;
    affine_sums first_sums = sums;
    f32x16 keep = f32x16_zero();
    memset(blocks, 0, (size_t)n_blocks * sizeof *blocks);
    for (int i = 0; i < n; i++) best_q[i] = keep;
    for (int round = 0; round < (in->has_importances ? 4 : 3); round++) {
        k_affine_block tried[2];
        k_affine_lanes at;
        float is_better[LANES];
        if (round == 3) fit = first_fit, sums = first_sums;
        for (int b = 0; b < n_blocks; b++)
            is_given_up[b] |= k_affine_codes(&fit, &sums, group.low, b * n_groups, n_groups, format.code_max, round < 3,
                                             &tried[b], &at);
        f32x16_store(at.error, affine_round(in, n, f32x16_load(at.s), f32x16_load(at.m), format.q_max, q));
        for (int b = 0; b < n_blocks; b++) {
            float error = sum_of(at.error + b * n_groups, n_groups);
            int better = !is_given_up[b] && error < best_error[b];
            if (better) best_error[b] = error, blocks[b] = tried[b];
            for (int g = 0; g < n_groups; g++) is_better[b * n_groups + g] = better ? 1 : 0;
        }
        f32x16 take = f32x16_load(is_better);
        for (int i = 0; i < n; i++) best_q[i] = f32x16_if_less(keep, take, q[i], best_q[i]);
        /* The next round starts from the scales that are best for the q of this one. */
        f32x16 step = lanes_inverse(f32x16_load(at.s));
        sums =
            affine_try(in, &group, n, step, f32x16_mul(f32x16_add(f32x16_load(at.m), group.low), step), format.q_max);
        fit = affine_solve(&sums, step, group.low, 0);
    }
    for (int b = 0; b < n_blocks; b++) *overflow |= best_error[b] == INFINITY;
    lanes_store_codes(best_q, n, 0, codes);
}

/* Packs the scales and minima of Q4_K and Q5_K, see rz_k_scales. */
static void k_scales_pack(const uint8_t *scale, const uint8_t *min, uint8_t *packed)
{
    for (int j = 0; j < 4; j++) {
        packed[j] = (uint8_t)(scale[j] | scale[j + 4] >> 4 << 6);
        packed[j + 4] = (uint8_t)(min[j] | min[j + 4] >> 4 << 6);
        packed[j + 8] = (uint8_t)((scale[j + 4] & 15) | min[j + 4] << 4);
    }
}

static void pack_q4_k(const k_affine_block *from, const uint8_t *q, rz_block_q4_k *to)
{
    to->d = from->d, to->dmin = from->dmin;
    k_scales_pack(from->scale, from->min, to->scales);
    for (int i = 0; i < 128; i++) to->qs[i] = (uint8_t)(q[i / 32 * 64 + i % 32] | q[i / 32 * 64 + 32 + i % 32] << 4);
}

static void pack_q5_k(const k_affine_block *from, const uint8_t *q, rz_block_q5_k *to)
{
    to->d = from->d, to->dmin = from->dmin;
    k_scales_pack(from->scale, from->min, to->scales);
    memset(to->qh, 0, sizeof to->qh);
    for (int i = 0; i < 256; i++) to->qh[i % 32] |= (uint8_t)(q[i] >> 4 << i / 32);
    for (int i = 0; i < 128; i++) {
        const uint8_t *first = q + i / 32 * 64 + i % 32;
        to->qs[i] = (uint8_t)((first[0] & 15) | first[32] << 4);
    }
}

static void pack_q2_k(const k_affine_block *from, const uint8_t *q, rz_block_q2_k *to)
{
    to->d = from->d, to->dmin = from->dmin;
    for (int g = 0; g < 16; g++) to->scales[g] = (uint8_t)(from->scale[g] | from->min[g] << 4);
    pack_bit_pairs(q, to->qs);
}

#define RZ_K_AFFINE(name, BLOCKS, N, Q_MAX, CODE_MAX, FIRST, DELTA, STEPS)                                             \
    static int quantize_##name(const float *x, const float *w, size_t k, void *out)                                    \
    {                                                                                                                  \
        const k_affine_format format = {N, Q_MAX, CODE_MAX, {FIRST, DELTA, STEPS, 2, 0}};                              \
        rz_block_##name *to = out;                                                                                     \
        int overflow = 0;                                                                                              \
        size_t n_block = k / 256;                                                                                      \
        for (size_t b = 0; b < n_block; b += BLOCKS) {                                                                 \
            size_t n_here = n_block - b < BLOCKS ? n_block - b : BLOCKS;                                               \
            lane_groups in;                                                                                            \
            k_affine_block blocks[BLOCKS];                                                                             \
            uint8_t codes[BLOCKS * 256];                                                                               \
            load_blocks(x + 256 * b, w ? w + 256 * b : NULL, 256, n_here, N, &in);                                     \
            k_affine_quantize(&in, format, BLOCKS, blocks, codes, &overflow);                                          \
            for (size_t i = 0; i < n_here; i++) pack_##name(&blocks[i], codes + 256 * i, to + b + i);                  \
        }                                                                                                              \
        return overflow;                                                                                               \
    }

RZ_K_AFFINE(q2_k, 1, 16, 3, 15, -0.9f, 0.05f, 37)
RZ_K_AFFINE(q4_k, 2, 32, 15, 63, -1.0f, 0.1f, 21)
RZ_K_AFFINE(q5_k, 2, 32, 31, 63, -1.0f, 0.1f, 21)

#endif
