/* Sixteen groups of weights, quantized together: lane g of a vector belongs to group g.
 *
 * No sum crosses lanes, so every ISA level rounds alike, and no group depends on which others are beside it. */
#ifndef REALIZAR_QUANTIZE_LANES_H
#define REALIZAR_QUANTIZE_LANES_H

#include <math.h>
#include <stddef.h>

#include "realizar/blocks.h"
#include "realizar/scalar/math.h"

enum { LANES = 16, LONGEST_GROUP = 32 };

/* Below this, the range of a group is as good as zero: the least half float is 6e-8. */
#define LEAST_RANGE 1e-15f

/* Element i of each group, and how much its squared error counts (>= 0). */
typedef struct {
    f32x16 x[LONGEST_GROUP], w[LONGEST_GROUP];
    int has_importances; /* else all w are 1 */
} lane_groups;

RZ_INLINE f32x16 lanes_clamp(f32x16 x, float low, float high)
{
    return f32x16_min(f32x16_max(x, f32x16_set(low)), f32x16_set(high));
}

/* To the nearest integer, ties to even; |x| < 2^22: the sum with 1.5 * 2^23 has no bits for a fraction. */
RZ_INLINE f32x16 lanes_round(f32x16 x)
{
    f32x16 magic = f32x16_set(12582912.0f);
    return f32x16_sub(f32x16_add(x, magic), magic);
}

/* 1 / x, or 0 where x is not above LEAST_RANGE. */
RZ_INLINE f32x16 lanes_inverse(f32x16 x)
{
    f32x16 least = f32x16_set(LEAST_RANGE);
    return f32x16_if_less(least, x, f32x16_div(f32x16_set(1), f32x16_max(x, least)), f32x16_zero());
}

/* a / b, or 0 where b <= 0. */
RZ_INLINE f32x16 lanes_ratio(f32x16 a, f32x16 b)
{
    f32x16 is_positive = f32x16_if_less(f32x16_zero(), b, f32x16_set(1), f32x16_zero());
    f32x16 divisor = f32x16_if_less(f32x16_zero(), b, b, f32x16_set(1));
    return f32x16_mul(is_positive, f32x16_div(a, divisor));
}

/* Transposes n consecutive floats of each of 16 groups; n is 16 or 32. */
RZ_NOINLINE void lanes_load(const float *const *group, int n, f32x16 *out)
{
    for (int start = 0; start < n; start += LANES) {
        for (int g = 0; g < LANES; g++) out[start + g] = f32x16_load(group[g] + start);
        f32x16_transpose(out + start);
    }
}

/* The codes of each group, whole numbers as floats, as bytes: code i of group g is out[g * n + i]. */
RZ_NOINLINE void lanes_store_codes(const f32x16 *q, int n, int zero, uint8_t *out)
{
    for (int start = 0; start < n; start += LANES) {
        f32x16 rows[LANES];
        for (int i = 0; i < LANES; i++) rows[i] = q[start + i];
        f32x16_transpose(rows);
        for (int g = 0; g < LANES; g++) {
            float row[LANES];
            f32x16_store(row, rows[g]);
            for (int i = 0; i < LANES; i++) out[g * n + start + i] = (uint8_t)((int)row[i] + zero);
        }
    }
}

/* Two bits each: bits 2 j of byte i of a half are element 32 j + i of its 128. */
static void pack_bit_pairs(const uint8_t *q, uint8_t *qs)
{
    for (int i = 0; i < 64; i++) {
        const uint8_t *first = q + i / 32 * 128 + i % 32;
        qs[i] = (uint8_t)(first[0] | first[32] << 2 | first[64] << 4 | first[96] << 6);
    }
}

/* The extreme of each group: the element farthest from zero, the first of equals. */
RZ_NOINLINE f32x16 lanes_extreme(const f32x16 *x, int n)
{
    f32x16 extreme = x[0];
    for (int i = 1; i < n; i++) extreme = f32x16_if_less(f32x16_abs(extreme), f32x16_abs(x[i]), x[i], extreme);
    return extreme;
}

enum { N_IMPORTANT_STEPS = 4 };

/* Steps 1 / s for groups where few elements count: the one whose error counts most need not be near the extreme, from
 * which other steps follow, and may round to 0 at all of those. It gets the code that it has at `step`, but at least 1;
 * the next; and twice and four times that, if there are such codes. x: n elements, or what is left of them. */
RZ_NOINLINE void lanes_important_steps(const f32x16 *x, const f32x16 *w, int n, f32x16 step, float q_end, f32x16 *out)
{
    f32x16 found = f32x16_zero(), most = found, zero = found, one = f32x16_set(1);
    for (int i = 0; i < n; i++) {
        f32x16 error = f32x16_mul(w[i], f32x16_mul(x[i], x[i]));
        found = f32x16_if_less(most, error, f32x16_abs(x[i]), found);
        most = f32x16_max(most, error);
    }
    f32x16 code = f32x16_max(lanes_round(f32x16_min(f32x16_mul(found, f32x16_abs(step)), f32x16_set(q_end))), one);
    f32x16 twice = f32x16_add(code, code), codes[] = {code, f32x16_add(code, one), twice, f32x16_add(twice, twice)};
    for (int k = 0; k < N_IMPORTANT_STEPS; k++) {
        f32x16 size = f32x16_mul(f32x16_min(codes[k], f32x16_set(q_end)), lanes_inverse(found));
        out[k] = f32x16_if_less(step, zero, f32x16_sub(zero, size), size);
    }
}

/* The sum of n floats, one after the other. */
RZ_INLINE float sum_of(const float *x, int n)
{
    float sum = 0;
    for (int i = 0; i < n; i++) sum += x[i];
    return sum;
}

/* Rounds a scale to half and gives what a reader will see; sets *overflow if it is too large. */
RZ_INLINE float half_scale(float d, uint16_t *bits, int *overflow)
{
    *bits = rz_f32_to_f16(d);
    *overflow |= (*bits & 0x7c00) == 0x7c00;
    return rz_f16_to_f32(*bits);
}

#endif
