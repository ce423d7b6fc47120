/* What the samplers compute on arrays of logits, under the sanitizers: exp against the C library's, greatest, order. */
#include "realizar/logits.h"

#include <float.h>
#include <stdio.h>
#include <stdlib.h>

#define CHECK(ok)                                                                                                      \
    do {                                                                                                               \
        if (!(ok)) {                                                                                                   \
            fprintf(stderr, "%s:%d: not true: %s\n", __FILE__, __LINE__, #ok);                                         \
            exit(1);                                                                                                   \
        }                                                                                                              \
    } while (0)

static uint32_t next(uint32_t *state) { return *state = *state * 1664525u + 1013904223u; }

static void exponentials(void)
{
    for (float x = 0.0f; x >= -87.3f; x -= 1.0f / 4096) CHECK(fabs(rz_exp(x) / exp(x) - 1.0) <= FLT_EPSILON);
    CHECK(rz_exp(0.0f) == 1.0f && rz_exp(-88.0f) == 0.0f);
    float x[RZ_LOGITS_BLOCK], w[RZ_LOGITS_BLOCK], peak = FLT_MAX;
    for (int i = 0; i < RZ_LOGITS_BLOCK; i++) x[i] = i == 5 ? peak : i % 2 ? -INFINITY : -FLT_MAX;
    CHECK(rz_weigh(x, peak, w) == 1.0f && w[5] == 1.0f && w[4] == 0.0f && w[63] == 0.0f);
}

static void greatest(void)
{
    float x[RZ_LOGITS_BLOCK];
    for (int at = 0; at < RZ_LOGITS_BLOCK; at++) {
        int has_nan = 0;
        for (int i = 0; i < RZ_LOGITS_BLOCK; i++) x[i] = i == at ? -1.0f : -INFINITY;
        CHECK(rz_greatest(x, &has_nan) == -1.0f && !has_nan);
        x[at] = NAN;
        rz_greatest(x, &has_nan);
        CHECK(has_nan);
    }
}

/* n candidates with `n_values` different logits: random, and in rows that go up and down. */
static void orders(int n, uint32_t n_values, int pattern)
{
    float *x = malloc((size_t)n * sizeof *x);
    int32_t *ids = malloc((size_t)n * sizeof *ids);
    uint32_t state = (uint32_t)n;
    CHECK(x && ids);
    for (int i = 0; i < n; i++) {
        uint32_t value = pattern == 0   ? next(&state) >> 8
                         : pattern == 1 ? (uint32_t)i
                                        : (uint32_t)(i < n / 2 ? i : n - i);
        x[i] = (float)(value % n_values);
        ids[i] = i;
    }
    int k = n / 3;
    rz_select(x, ids, 0, n, k);
    for (int i = 0; i < k; i++)
        for (int j = k; j < n; j += 1 + n / 64) CHECK(rz_is_better(x[i], ids[i], x[j], ids[j]));
    rz_sort(x, ids, 0, n);
    for (int i = 1; i < n; i++) CHECK(rz_is_better(x[i - 1], ids[i - 1], x[i], ids[i]));
    free(x);
    free(ids);
}

int main(void)
{
    exponentials();
    greatest();
    for (int n = 1; n < 3000; n += 1 + n / 3)
        for (int pattern = 0; pattern < 3; pattern++) {
            orders(n, 1, pattern);
            orders(n, 7, pattern);
            orders(n, 1u << 24, pattern);
        }
    return 0;
}
