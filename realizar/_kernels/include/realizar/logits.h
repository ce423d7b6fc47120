/* Computations of the samplers on arrays of logits that are not in the kernel table: second moments and sorting. */
#ifndef REALIZAR_LOGITS_H
#define REALIZAR_LOGITS_H

#include <math.h>
#include <stdbool.h>
#include <stdint.h>

#include "realizar/table.h"

/* Adds peak - x of each finite logit of a block to sum, and its square to squares; returns the number of them. */
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

/* ---- order: greater logits first; of equal logits, the lower id first ------------------------------------------- */

static inline bool rz_is_better(float x, int32_t i, float y, int32_t j) { return x > y || (x == y && i < j); }

static inline void rz_swap(float *x, int32_t *ids, int a, int b)
{
    float xa = x[a];
    int32_t ia = ids[a];
    x[a] = x[b], ids[a] = ids[b];
    x[b] = xa, ids[b] = ia;
}

/* The median of three elements of [lo, hi), at places for which likely patterns of logits do not give a bad pivot. */
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

/* Partitions [lo, hi): better elements before the pivot, the others after it; returns its index. */
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

/* Recurses into the smaller part, so that the depth is at most log2(n). */
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
