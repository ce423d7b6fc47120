/* IQ2 and IQ3: the magnitudes of four or eight elements are a codeword of a codebook, times the scale of their group.
 *
 * Elements of codewords have few levels, so the error of a codeword is the sum of two entries of tables, one for each
 * of its halves; every codeword is tried, for sixteen groups at a time. */
#ifndef REALIZAR_QUANTIZE_CODEBOOK_H
#define REALIZAR_QUANTIZE_CODEBOOK_H

#include "realizar/codebooks.h"
#include "realizar/quantize/codes.h"
#include "realizar/quantize/importances.h"
#include "realizar/quantize/symmetric.h"

enum { MOST_WORDS = 1024, MOST_HALVES = 81, MOST_VECTORS = 8 };

/* A format: n_words codewords of n elements (bytes of grid, 4 or 8), in groups of `group` elements; the scale of a group
 * is d * unit * (2 code + 1), code in 0..15. */
typedef struct {
    const void *grid;
    int n_words, n, group, n_levels, has_even_signs;
    float unit;
    const float *level;
} codebook_format;

static const float IQ2_LEVELS[] = {8, 25, 43};
static const float IQ3_XXS_LEVELS[] = {4, 12, 20, 28, 36, 44, 52, 62};
static const float IQ3_S_LEVELS[] = {1, 3, 5, 7, 9, 11, 13, 15};

/* For each codeword, which entry of the tables each half is: its levels as digits. */
typedef uint8_t codebook_halves[MOST_WORDS][2];

static void codebook_begin(const codebook_format *f, codebook_halves halves)
{
    const uint8_t *bytes = f->grid;
    for (int k = 0; k < f->n_words; k++) {
        for (int half = 0; half < 2; half++) {
            int entry = 0;
            for (int i = f->n / 2 - 1; i >= 0; i--) {
                float value = bytes[k * f->n + half * (f->n / 2) + i];
                int digit = 0;
                while (digit < f->n_levels - 1 && f->level[digit] < value) digit++;
                entry = entry * f->n_levels + digit;
            }
            halves[k][half] = (uint8_t)entry;
        }
    }
}

/* The errors of every combination of levels for half a codeword, which has m elements. */
RZ_NOINLINE void codebook_errors(const codebook_format *f, const f32x16 *x, const f32x16 *w, int m, const f32x16 *s,
                                 f32x16 *out)
{
    int n = 1;
    out[0] = f32x16_zero();
    for (int i = 0; i < m; i++, n *= f->n_levels) {
        for (int l = f->n_levels - 1; l >= 0; l--) {
            f32x16 difference = f32x16_sub(f32x16_mul(*s, f32x16_set(f->level[l])), x[i]);
            f32x16 error = f32x16_mul(w[i], f32x16_mul(difference, difference));
            for (int c = 0; c < n; c++) out[l * n + c] = f32x16_add(out[c], error);
        }
    }
}

/* The codeword of each group for the elements from `at` on, and its elements. */
RZ_NOINLINE void codebook_nearest(const codebook_format *f, const codebook_halves halves, const lane_groups *in, int at,
                                  const f32x16 *s, uint16_t *index, f32x16 *q)
{
    f32x16 first[MOST_HALVES], second[MOST_HALVES], best = f32x16_set(INFINITY), word = f32x16_zero();
    int m = f->n / 2;
    codebook_errors(f, in->x + at, in->w + at, m, s, first);
    codebook_errors(f, in->x + at + m, in->w + at + m, m, s, second);
    for (int k = 0; k < f->n_words; k++) {
        f32x16 error = f32x16_add(first[halves[k][0]], second[halves[k][1]]);
        word = f32x16_if_less(error, best, f32x16_set((float)k), word);
        best = f32x16_min(error, best);
    }
    float words[LANES], elements[8][LANES];
    f32x16_store(words, word);
    for (int g = 0; g < LANES; g++) {
        const uint8_t *bytes = (const uint8_t *)f->grid + (size_t)words[g] * (size_t)f->n;
        index[g] = (uint16_t)words[g];
        for (int i = 0; i < f->n; i++) elements[i][g] = bytes[i];
    }
    for (int i = 0; i < f->n; i++) q[i] = f32x16_load(elements[i]);
}

/* The codewords for a scale, index[vector][group], and the scale that is best for them. */
RZ_NOINLINE void codebook_try(const codebook_format *f, const codebook_halves halves, const lane_groups *in, f32x16 s,
                              uint16_t (*index)[LANES], symmetric_fit *out)
{
    f32x16 xq = f32x16_zero(), qq = xq;
    for (int v = 0; v < f->group / f->n; v++) {
        f32x16 q[8];
        codebook_nearest(f, halves, in, v * f->n, &s, index[v], q);
        for (int i = 0; i < f->n; i++) {
            f32x16 wq = f32x16_mul(in->w[v * f->n + i], q[i]);
            xq = f32x16_add(xq, f32x16_mul(wq, in->x[v * f->n + i]));
            qq = f32x16_add(qq, f32x16_mul(wq, q[i]));
        }
    }
    *out = (symmetric_fit){f32x16_max(lanes_ratio(xq, qq), f32x16_zero()), xq, qq};
}

/* The best scale of each group: the extreme is tried at fractions of the highest level, whose codewords are few. */
RZ_NOINLINE void codebook_search(const codebook_format *f, const codebook_halves halves, const lane_groups *in,
                                 symmetric_fit *best)
{
    static const float PARTS[] = {0.6f, 0.75f, 0.95f};
    uint16_t index[MOST_VECTORS][LANES];
    f32x16 zero = f32x16_zero(), extreme = f32x16_abs(lanes_extreme(in->x, f->group));
    *best = (symmetric_fit){zero, zero, zero};
    for (size_t k = 0; k < sizeof PARTS / sizeof *PARTS; k++) {
        symmetric_fit fit;
        f32x16 s = f32x16_mul(extreme, f32x16_set(PARTS[k] / f->level[f->n_levels - 1]));
        codebook_try(f, halves, in, s, index, &fit);
        symmetric_keep_better(best, &fit);
    }
    symmetric_fit fit;
    codebook_try(f, halves, in, best->s, index, &fit);
    symmetric_keep_better(best, &fit);
}

/* Magnitudes and sign bits of n elements, a multiple of 8. Where an even number of signs is stored, the element whose
 * error counts least gets the wrong sign if need be: its magnitude is negative then. */
RZ_NOINLINE void split_signs(const float *x, const float *w, size_t n, int has_even_signs, float *size, uint8_t *signs)
{
    for (size_t at = 0; at < n; at += 8, signs++) {
        unsigned bits = 0, count = 0;
        size_t least = at;
        float least_error = INFINITY;
        for (size_t i = at; i < at + 8; i++) {
            float error = x[i] * x[i] * (w ? w[i] : 1);
            bits |= (unsigned)(x[i] < 0) << (i - at);
            count += x[i] < 0;
            if (error < least_error) least_error = error, least = i;
            size[i] = fabsf(x[i]);
        }
        if (has_even_signs && count % 2) {
            size[least] = -size[least];
            bits ^= 1u << (least - at);
        }
        *signs = (uint8_t)bits;
    }
}

/* What a packer gets of a block: d, a code for each group, and codewords and signs in the order of the elements. */
typedef struct {
    uint16_t d, index[64];
    uint8_t code[LANES], signs[32];
} codebook_block;

/* Quantizes up to 16 groups, n_here blocks. */
RZ_NOINLINE void codebook_quantize(const codebook_format *f, const codebook_halves halves, const float *x,
                                   const float *w, size_t n_here, codebook_block *blocks, int *overflow)
{
    float size[LANES * LONGEST_GROUP], importances[LANES * LONGEST_GROUP], s[LANES], by_s[LANES];
    int n_groups = 256 / f->group, n_vectors = f->group / f->n;
    uint16_t index[MOST_VECTORS][LANES];
    lane_groups in;
    symmetric_fit fit;
    if (w) normalize_importances(w, 256, n_here, importances);
    for (size_t b = 0; b < n_here; b++) {
        const float *of = w ? importances + 256 * b : NULL;
        split_signs(x + 256 * b, of, 256, f->has_even_signs, size + 256 * b, blocks[b].signs);
    }
    load_normalized(size, w ? importances : NULL, 256, n_here, f->group, &in);
    codebook_search(f, halves, &in, &fit);
    f32x16_store(s, fit.s);
    f32x16_store(by_s, fit.qq);
    for (int b = 0; b < (int)n_here; b++) {
        float *of = s + b * n_groups;
        float d = fit_odd_codes(of, by_s + b * n_groups, n_groups) / f->unit;
        d = half_scale(d, &blocks[b].d, overflow) * f->unit;
        for (int g = 0; g < n_groups; g++) {
            float code = nearest_code(0.5f * (of[g] - d), d, 0, 15);
            blocks[b].code[g] = (uint8_t)code;
            of[g] = d * (2 * code + 1);
        }
    }
    codebook_try(f, halves, &in, f32x16_load(s), index, &fit);
    for (int g = 0; g < n_groups * (int)n_here; g++)
        for (int v = 0; v < n_vectors; v++) blocks[g / n_groups].index[g % n_groups * n_vectors + v] = index[v][g];
}

#endif
