/* The order of candidates, under the sanitizers. */
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

/* n candidates with `n_values` different logits: random, and in ascending and descending runs. */
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
    for (int n = 1; n < 3000; n += 1 + n / 3)
        for (int pattern = 0; pattern < 3; pattern++) {
            orders(n, 1, pattern);
            orders(n, 7, pattern);
            orders(n, 1u << 24, pattern);
        }
    return 0;
}
