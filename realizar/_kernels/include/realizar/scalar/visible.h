/* The keys that a query sees (causal with window and spans, or in both directions), and its relative position biases. */
#ifndef REALIZAR_SCALAR_VISIBLE_H
#define REALIZAR_SCALAR_VISIBLE_H

#include "realizar/table.h"

/* Keys [first, end). */
struct key_range {
    int64_t first, end;
};

static inline int64_t min_key(int64_t a, int64_t b) { return a < b ? a : b; }
static inline int64_t max_key(int64_t a, int64_t b) { return a > b ? a : b; }

/* The keys in `keys` that the queries of token t see. With a span this is still one range, since a span contains the
 * token itself; and both bounds are non-decreasing in t: the tokens of a span share its end, and a window or a chunk
 * never begins after the span's first key. */
static inline struct key_range visible_keys(const struct rz_attend_args *args, int64_t t, struct key_range keys)
{
    struct key_range seen = {keys.first, min_key(keys.end, args->n_keys)};
    if (args->causal) {
        int64_t query = args->pos0 + t;
        struct rz_reach reach = args->reach ? args->reach[t] : (struct rz_reach){0, 0};
        seen.first = max_key(seen.first, min_key(args->skip, query - reach.before));
        seen.end = min_key(seen.end, query + 1 + reach.after);
        if (args->window) {
            int64_t first = args->chunked ? query - query % args->window : query + 1 - args->window;
            seen.first = max_key(seen.first, min_key(first, query - reach.before));
        }
    } else if (args->window) {
        int64_t query = args->pos0 + t, half = args->window / 2;
        seen.first = max_key(seen.first, query - half);
        seen.end = min_key(seen.end, query + half + 1);
    }
    return seen;
}

/* The relative position biases of query i, by key. */
static inline const float *query_bias(const struct rz_attend_args *args, int i)
{
    return args->bias + (size_t)(i % args->n_group) * args->bias_stride - (args->pos0 + i / args->n_group);
}

#endif
