/* Which keys a query sees: causal, window, or all; and how it likes their places. */
#ifndef REALIZAR_SCALAR_VISIBLE_H
#define REALIZAR_SCALAR_VISIBLE_H

#include "realizar/table.h"

/* Keys [first, end). */
struct key_range {
    int64_t first, end;
};

static inline int64_t min_key(int64_t a, int64_t b) { return a < b ? a : b; }
static inline int64_t max_key(int64_t a, int64_t b) { return a > b ? a : b; }

/* The keys in `keys` that the queries of token t see; both borders ascend with t. */
static inline struct key_range visible_keys(const struct rz_attend_args *args, int64_t t, struct key_range keys)
{
    struct key_range seen = {keys.first, min_key(keys.end, args->n_keys)};
    if (args->causal) {
        seen.end = min_key(seen.end, args->pos0 + t + 1);
        if (args->window) seen.first = max_key(seen.first, args->pos0 + t + 1 - args->window);
    }
    return seen;
}

/* The biases of query i, by key. */
static inline const float *query_bias(const struct rz_attend_args *args, int i)
{
    return args->bias + (size_t)(i % args->n_group) * args->bias_stride - (args->pos0 + i / args->n_group);
}

#endif
