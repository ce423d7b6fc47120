/* What the samplers compute on arrays of logits, in blocks of 64: greatest, e**x, order. Vectors by the compiler. */
#ifndef REALIZAR_LOGITS_H
#define REALIZAR_LOGITS_H

#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

enum { RZ_LOGITS_BLOCK = 64 };

/* The greatest of a block; *has_nan becomes true where there is a NaN, which compares as neither less nor greater. */
static inline float rz_greatest(const float *x, int *has_nan)
{
    float m[RZ_LOGITS_BLOCK / 2];
    int nan[RZ_LOGITS_BLOCK / 2];
    for (int j = 0; j < 32; j++) m[j] = x[j] > x[j + 32] ? x[j] : x[j + 32];
    for (int j = 0; j < 16; j++) m[j] = m[j] > m[j + 16] ? m[j] : m[j + 16];
    for (int j = 0; j < 8; j++) m[j] = m[j] > m[j + 8] ? m[j] : m[j + 8];
    for (int j = 0; j < 4; j++) m[j] = m[j] > m[j + 4] ? m[j] : m[j + 4];
    for (int j = 0; j < 32; j++) nan[j] = (x[j] != x[j]) | (x[j + 32] != x[j + 32]);
    for (int j = 0; j < 16; j++) nan[j] |= nan[j + 16];
    for (int j = 0; j < 8; j++) nan[j] |= nan[j + 8];
    for (int j = 0; j < 4; j++) *has_nan |= nan[j] | nan[j + 4];
    for (int j = 1; j < 4; j++) m[0] = m[0] > m[j] ? m[0] : m[j];
    return m[0];
}

/* e**x for x in [-88, 0] to 2 ulp, 0 below -87.7: the steps and constants of expf in Moshier's Cephes library. Not the C
 * library's exp: that differs in the last bit from one system to the next, and with it, now and then, the token drawn. */
static inline float rz_exp(float x)
{
    float k = (x * 1.44269504f + 0x1.8p23f) - 0x1.8p23f; /* rounds to an integer */
    float r = (x - k * 0.693359375f) - k * -2.12194440e-4f;
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * (r * r) + r + 1.0f;
    int32_t bits = ((int32_t)k + 127) * (1 << 23); /* 0 for k = -127, and so is then the power of two */
    float power;
    memcpy(&power, &bits, sizeof power);
    return p * power;
}

/* w = e**(x - peak) of a block; returns their sum. */
static inline float rz_weigh(const float *x, float peak, float *w)
{
    float sum[RZ_LOGITS_BLOCK / 2];
    for (int j = 0; j < 64; j++) w[j] = x[j] - peak > -88.0f ? x[j] - peak : -88.0f;
    for (int j = 0; j < 64; j++) w[j] = rz_exp(w[j]);
    for (int j = 0; j < 32; j++) sum[j] = w[j] + w[j + 32];
    for (int j = 0; j < 16; j++) sum[j] += sum[j + 16];
    for (int j = 0; j < 8; j++) sum[j] += sum[j + 8];
    for (int j = 0; j < 4; j++) sum[j] += sum[j + 4];
    return (sum[0] + sum[2]) + (sum[1] + sum[3]);
}

/* The sum of w * (peak - x) of a block with its weights: how far below the best a candidate is on the average. */
static inline double rz_fall(const float *x, float peak, const float *w)
{
    double sum[RZ_LOGITS_BLOCK / 4] = {0};
    for (int j = 0; j < RZ_LOGITS_BLOCK; j++) {
        float fall = peak - x[j] < 88.0f ? peak - x[j] : 88.0f;
        sum[j % 16] += (double)w[j] * (double)fall;
    }
    for (int n = 8; n > 0; n /= 2)
        for (int j = 0; j < n; j++) sum[j] += sum[j + n];
    return sum[0];
}

/* Adds the falls of a block's finite logits below the peak to sum, and their squares to squares; returns how many. */
static inline int rz_moments(const float *x, float peak, double *sum, double *squares)
{
    double s[RZ_LOGITS_BLOCK / 4] = {0}, q[RZ_LOGITS_BLOCK / 4] = {0};
    int n = 0;
    for (int j = 0; j < RZ_LOGITS_BLOCK; j++) {
        double fall = x[j] > -INFINITY ? (double)peak - (double)x[j] : 0.0;
        n += x[j] > -INFINITY;
        s[j % 16] += fall;
        q[j % 16] += fall * fall;
    }
    for (int half = 8; half > 0; half /= 2)
        for (int j = 0; j < half; j++) s[j] += s[j + half], q[j] += q[j + half];
    *sum += s[0];
    *squares += q[0];
    return n;
}

/* ---- order: greater logits first, of equals the lower id ---------------------------------------------------------- */

static inline bool rz_is_better(float x, int32_t i, float y, int32_t j) { return x > y || (x == y && i < j); }

static inline void rz_swap(float *x, int32_t *ids, int a, int b)
{
    float xa = x[a];
    int32_t ia = ids[a];
    x[a] = x[b], ids[a] = ids[b];
    x[b] = xa, ids[b] = ia;
}

/* The median of three places in [lo, hi), chosen so that no pattern likely in logits makes it a bad pivot. */
static inline int rz_pivot(const float *x, const int32_t *ids, int lo, int hi)
{
    uint32_t span = (uint32_t)(hi - lo), hash = (span ^ (uint32_t)lo) * 2654435761u;
    int a = lo + (int)((hash >> 8) % span), b = lo + (int)((hash * 1664525u >> 8) % span), c = lo + (int)(span / 2);
    if (rz_is_better(x[b], ids[b], x[a], ids[a])) {
        int other = a;
        a = b, b = other;
    }
    if (rz_is_better(x[c], ids[c], x[a], ids[a])) return a;
    return rz_is_better(x[b], ids[b], x[c], ids[c]) ? b : c;
}

/* Puts one of [lo, hi) where it belongs, the better ones before it and the others behind it; returns its place. */
static inline int rz_partition(float *x, int32_t *ids, int lo, int hi)
{
    int place = lo, last = hi - 1;
    rz_swap(x, ids, rz_pivot(x, ids, lo, hi), last);
    for (int i = lo; i < last; i++)
        if (rz_is_better(x[i], ids[i], x[last], ids[last])) rz_swap(x, ids, i, place++);
    rz_swap(x, ids, place, last);
    return place;
}

/* Puts the best of [lo, hi) into [lo, k), in no particular order. */
static inline void rz_select(float *x, int32_t *ids, int lo, int hi, int k)
{
    while (lo < k && k < hi) {
        int place = rz_partition(x, ids, lo, hi);
        if (place < k)
            lo = place + 1;
        else
            hi = place;
    }
}

/* The smaller part by recursion, so that it goes at most log2(n) deep. */
static inline void rz_sort(float *x, int32_t *ids, int lo, int hi)
{
    while (hi - lo > 1) {
        int place = rz_partition(x, ids, lo, hi);
        if (place - lo < hi - place) {
            rz_sort(x, ids, lo, place);
            lo = place + 1;
        } else {
            rz_sort(x, ids, place + 1, hi);
            hi = place;
        }
    }
}

#endif
