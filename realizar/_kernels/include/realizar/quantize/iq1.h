/* IQ1_S, IQ1_M: eight elements are a codeword of -1, 0 and 1 and a sign: eight times the codeword, plus the sign, times
 * the scale of their group. IQ1_S has one sign for each group, of 32 elements, IQ1_M one for each codeword.
 *
 * Scales are found without the codebook: levels to the nearest, by least squares. Then every codeword is tried with both
 * signs, as for IQ2 (codebook.h), at this scale, which gives a better one, and at the stored one. */
#ifndef REALIZAR_QUANTIZE_IQ1_H
#define REALIZAR_QUANTIZE_IQ1_H

#include "realizar/quantize/codebook.h"

enum { IQ1_WORDS = 2048, IQ1_N = 8, IQ1_VECTORS = 4, IQ1_SIGNS = 2 };

static const float IQ1_LEVELS[IQ1_SIGNS][3] = {{-7, 1, 9}, {-9, -1, 7}};

typedef uint8_t iq1_halves[IQ1_WORDS][2];

/* The codewords of 16 groups, index[vector][group], and whether their sign is negative. */
typedef struct {
    uint16_t index[IQ1_VECTORS][LANES];
    uint8_t is_negative[IQ1_VECTORS][LANES];
} iq1_words;

/* A byte of the grid is 8, 16 or 24, for -1, 0 and 1. */
static void iq1_begin(iq1_halves halves)
{
    const uint8_t *bytes = (const uint8_t *)rz_iq1_s_grid;
    for (int k = 0; k < IQ1_WORDS; k++)
        for (int half = 0; half < 2; half++) {
            const uint8_t *of = bytes + k * IQ1_N + 4 * half;
            halves[k][half] =
                (uint8_t)(of[0] / 8 - 1 + 3 * (of[1] / 8 - 1) + 9 * (of[2] / 8 - 1) + 27 * (of[3] / 8 - 1));
        }
}

/* The sums for the nearest levels of one sign, whatever the codebook, and the scale that is best for them. */
RZ_NOINLINE symmetric_fit iq1_round(const lane_groups *in, int n, f32x16 s, const float *level)
{
    f32x16 xq = f32x16_zero(), qq = xq, step = f32x16_mul(lanes_inverse(s), f32x16_set(0.125f));
    f32x16 sign = f32x16_set(level[1]), eighth = f32x16_set(0.125f * level[1]), eight = f32x16_set(8);
    for (int i = 0; i < n; i++) {
        f32x16 v = lanes_round(lanes_clamp(f32x16_sub(f32x16_mul(in->x[i], step), eighth), -1, 1));
        f32x16 q = f32x16_add(f32x16_mul(v, eight), sign), wq = f32x16_mul(in->w[i], q);
        xq = f32x16_add(xq, f32x16_mul(wq, in->x[i]));
        qq = f32x16_add(qq, f32x16_mul(wq, q));
    }
    return (symmetric_fit){f32x16_max(lanes_ratio(xq, qq), f32x16_zero()), xq, qq};
}

/* Scales that give the weighted mean of |x|, and the element whose error counts most, some part of level 8. */
RZ_NOINLINE symmetric_fit iq1_free_scale(const lane_groups *in, int n)
{
    static const float PARTS[] = {0.7f, 0.9f, 1.1f, 1.3f, 1.5f, 1.7f, 2, 2.4f, 3, 4};
    f32x16 zero = f32x16_zero(), sum = zero, w_sum = zero, most = zero, found = zero;
    symmetric_fit best = {zero, zero, zero};
    for (int i = 0; i < n; i++) {
        f32x16 size = f32x16_abs(in->x[i]), of_sum = f32x16_mul(in->w[i], size), error = f32x16_mul(of_sum, size);
        sum = f32x16_add(sum, of_sum);
        w_sum = f32x16_add(w_sum, in->w[i]);
        found = f32x16_if_less(most, error, size, found);
        most = f32x16_max(most, error);
    }
    f32x16 mean = lanes_ratio(sum, w_sum);
    for (size_t k = 0; k < sizeof PARTS / sizeof *PARTS + 2; k++) {
        int of_mean = k < sizeof PARTS / sizeof *PARTS;
        f32x16 s = of_mean ? f32x16_mul(mean, f32x16_set(0.125f * PARTS[k]))
                           : f32x16_mul(found, f32x16_set(k % 2 ? 1 / 7.0f : 1 / 9.0f));
        for (int sign = 0; sign < IQ1_SIGNS; sign++) {
            symmetric_fit fit = iq1_round(in, n, s, IQ1_LEVELS[sign]);
            symmetric_keep_better(&best, &fit);
        }
    }
    for (int sign = 0; sign < IQ1_SIGNS; sign++) {
        symmetric_fit fit = iq1_round(in, n, best.s, IQ1_LEVELS[sign]);
        symmetric_keep_better(&best, &fit);
    }
    return best;
}

/* The codeword with the least error of each group for either sign, for the elements from `at` on. */
RZ_NOINLINE void iq1_nearest(const iq1_halves halves, const lane_groups *in, int at, const f32x16 *s, f32x16 *word,
                             f32x16 *least)
{
    f32x16 first[IQ1_SIGNS][MOST_HALVES], second[IQ1_SIGNS][MOST_HALVES];
    for (int sign = 0; sign < IQ1_SIGNS; sign++) {
        const codebook_format levels = {.n_levels = 3, .level = IQ1_LEVELS[sign]};
        codebook_errors(&levels, in->x + at, in->w + at, IQ1_N / 2, s, first[sign]);
        codebook_errors(&levels, in->x + at + IQ1_N / 2, in->w + at + IQ1_N / 2, IQ1_N / 2, s, second[sign]);
    }
    f32x16 k = f32x16_zero(), one = f32x16_set(1), plus = f32x16_set(INFINITY), minus = plus, of_plus = k, of_minus = k;
    for (int i = 0; i < IQ1_WORDS; i++, k = f32x16_add(k, one)) {
        size_t a = halves[i][0], b = halves[i][1];
        f32x16 if_plus = f32x16_add(first[0][a], second[0][b]), if_minus = f32x16_add(first[1][a], second[1][b]);
        of_plus = f32x16_if_less(if_plus, plus, k, of_plus);
        of_minus = f32x16_if_less(if_minus, minus, k, of_minus);
        plus = f32x16_min(if_plus, plus);
        minus = f32x16_min(if_minus, minus);
    }
    word[0] = of_plus, word[1] = of_minus, least[0] = plus, least[1] = minus;
}

/* The codewords and signs for a scale, and the scale that is best for them. */
RZ_NOINLINE void iq1_try(const iq1_halves halves, const lane_groups *in, int n_vectors, int is_shared, f32x16 s,
                         iq1_words *out, symmetric_fit *fit)
{
    f32x16 word[IQ1_VECTORS][IQ1_SIGNS], error[IQ1_VECTORS][IQ1_SIGNS], zero = f32x16_zero(), total[] = {zero, zero};
    for (int v = 0; v < n_vectors; v++) {
        iq1_nearest(halves, in, v * IQ1_N, &s, word[v], error[v]);
        for (int sign = 0; sign < IQ1_SIGNS; sign++) total[sign] = f32x16_add(total[sign], error[v][sign]);
    }
    f32x16 xq = zero, qq = zero;
    for (int v = 0; v < n_vectors; v++) {
        f32x16 plus = is_shared ? total[0] : error[v][0], minus = is_shared ? total[1] : error[v][1];
        float words[LANES], negative[LANES], elements[IQ1_N][LANES];
        f32x16_store(words, f32x16_if_less(minus, plus, word[v][1], word[v][0]));
        f32x16_store(negative, f32x16_if_less(minus, plus, f32x16_set(1), zero));
        for (int g = 0; g < LANES; g++) {
            const uint8_t *bytes = (const uint8_t *)(rz_iq1_s_grid + (size_t)words[g]);
            out->index[v][g] = (uint16_t)words[g], out->is_negative[v][g] = negative[g] != 0;
            for (int i = 0; i < IQ1_N; i++) elements[i][g] = (float)bytes[i] - 16 + (negative[g] != 0 ? -1 : 1);
        }
        for (int i = 0; i < IQ1_N; i++) {
            f32x16 q = f32x16_load(elements[i]), wq = f32x16_mul(in->w[v * IQ1_N + i], q);
            xq = f32x16_add(xq, f32x16_mul(wq, in->x[v * IQ1_N + i]));
            qq = f32x16_add(qq, f32x16_mul(wq, q));
        }
    }
    *fit = (symmetric_fit){f32x16_max(lanes_ratio(xq, qq), zero), xq, qq};
}

/* What a packer gets: the d and the codes of each block, and the words of its groups. */
typedef struct {
    uint16_t d[2];
    uint8_t code[LANES];
    iq1_words words;
} iq1_groups;

/* Quantizes up to 16 groups of `group` elements, n_here blocks. */
RZ_NOINLINE void iq1_quantize(const iq1_halves halves, const float *x, const float *w, size_t n_here, int group,
                              int is_shared, iq1_groups *out, int *overflow)
{
    int per_block = 256 / group, n_vectors = group / IQ1_N;
    float s[LANES], by_s[LANES];
    lane_groups in;
    symmetric_fit unused;
    load_blocks(x, w, 256, n_here, group, &in);
    symmetric_fit best = iq1_free_scale(&in, group);
    iq1_try(halves, &in, n_vectors, is_shared, best.s, &out->words, &best);
    f32x16_store(s, best.s);
    f32x16_store(by_s, best.qq);
    for (int b = 0; b < (int)n_here; b++) {
        float *of = s + b * per_block;
        float d = fit_codes_of(of, by_s + b * per_block, per_block, 1, 15, 15, 1) * 8;
        d = half_scale(d, &out->d[b], overflow) / 8;
        for (int g = 0; g < per_block; g++) {
            float code = nearest_code(0.5f * (of[g] - d), d, 0, 7);
            out->code[b * per_block + g] = (uint8_t)code;
            of[g] = d * (2 * code + 1);
        }
    }
    iq1_try(halves, &in, n_vectors, is_shared, f32x16_load(s), &out->words, &unused);
}

static int quantize_iq1_s(const float *x, const float *w, size_t k, void *out)
{
    rz_block_iq1_s *to = out;
    iq1_halves halves;
    iq1_groups groups;
    int overflow = 0;
    iq1_begin(halves);
    for (size_t b = 0; b < k / 256; b += 2) {
        size_t n_here = k / 256 - b < 2 ? 1 : 2;
        iq1_quantize(halves, x + 256 * b, w ? w + 256 * b : NULL, n_here, 32, 1, &groups, &overflow);
        for (size_t i = 0; i < 8 * n_here; i++) {
            rz_block_iq1_s *block = to + b + i / 8;
            size_t j = i % 8;
            block->d = groups.d[i / 8];
            block->qh[j] = (uint16_t)(groups.code[i] << 12 | groups.words.is_negative[0][i] << 15);
            for (int v = 0; v < 4; v++) {
                uint16_t index = groups.words.index[v][i];
                block->qs[4 * j + (size_t)v] = (uint8_t)index;
                block->qh[j] |= (uint16_t)(index >> 8 << 3 * v);
            }
        }
    }
    return overflow;
}

static int quantize_iq1_m(const float *x, const float *w, size_t k, void *out)
{
    iq1_halves halves;
    iq1_groups groups;
    int overflow = 0;
    iq1_begin(halves);
    for (size_t b = 0; b < k / 256; b++) {
        rz_block_iq1_m *block = (rz_block_iq1_m *)out + b;
        iq1_quantize(halves, x + 256 * b, w ? w + 256 * b : NULL, 1, 16, 0, &groups, &overflow);
        for (int i = 0; i < 4; i++) block->scales[i] = (uint16_t)((groups.d[0] >> 4 * i & 15) << 12);
        for (int g = 0; g < 16; g++) {
            block->scales[g / 4] |= (uint16_t)(groups.code[g] << g % 4 * 3);
            block->qh[g] = 0;
            for (int v = 0; v < 2; v++) {
                unsigned index = groups.words.index[v][g];
                block->qs[2 * g + v] = (uint8_t)index;
                block->qh[g] |= (uint8_t)((index >> 8 | (unsigned)groups.words.is_negative[v][g] << 3) << 4 * v);
            }
        }
    }
    return overflow;
}

#endif
