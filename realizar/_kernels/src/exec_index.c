/* The choice of keys by an indexer: scores of all keys that a query sees, and the greatest of them.
 *
 * A step of few tokens has a row of scores for each, which all workers compute together; otherwise a worker computes
 * those of a token in its scratch. */
#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "realizar/scalar/hadamard.h"
#include "realizar/worker.h"

static size_t n_blocks_seen(const struct rz_batch *b, size_t t)
{
    return rz_ceil_div((size_t)rz_keys_seen(b, t), RZ_KV_BLOCK);
}

/* The queries in the form of the cached keys: some caches hold H k, see scalar/hadamard.h. */
static const float *open_queries(const struct rz_op *op, size_t t, float *own)
{
    const struct rz_attention *a = op->attention;
    size_t dim = (size_t)a->head_dim_k, n = (size_t)a->n_head * dim;
    if (!rz_kv_types[a->k_type].transforms_k) return rz_row(a->q, t);
    memcpy(own, rz_row(a->q, t), n * sizeof *own);
    for (size_t h = 0; h < (size_t)a->n_head; h++) hadamard(own + h * dim, dim);
    for (size_t i = 0; i < n; i++) own[i] *= 1 / (float)hadamard_width(dim);
    return own;
}

/* Scores of the keys in the blocks [first, end) of token t's sequence. */
static void score_keys(struct rz_worker *w, const struct rz_op *op, size_t t, size_t first, size_t end, float *scores)
{
    const struct rz_attention *a = op->attention;
    const struct rz_batch *b = w->batch;
    struct rz_index_args args = {
        .q = open_queries(op, t, (float *)(w->scratch + RZ_INDEX_SCRATCH)),
        .weights = rz_row(op->index->weights, t),
        .n_head = (size_t)a->n_head,
        .head_dim = (size_t)a->head_dim_k,
        .k_type = a->k_type,
        .k = a->k,
        .k_block_stride = a->k_block_stride,
        .block_table = rz_blocks_of(b, a, rz_sequence_of(b, t)),
        .first = first,
        .end = end,
        .scores = scores,
        .scratch = w->scratch,
    };
    w->kernels->index_scores(&args);
}

static bool has_rows(const struct rz_worker *w, const struct rz_index *x)
{
    return (size_t)w->batch->n_tokens <= x->n_row;
}

/* Runs of blocks into which the keys of each token are divided. */
static size_t n_runs(const struct rz_worker *w)
{
    return w->n_threads == 1 ? 1 : rz_ceil_div(4 * (size_t)w->n_threads, (size_t)w->batch->n_tokens);
}

size_t rz_items_index_scores(const struct rz_worker *w, const struct rz_op *op)
{
    return has_rows(w, op->index) ? (size_t)w->batch->n_tokens * n_runs(w) : 0;
}

void rz_run_index_scores(struct rz_worker *w, const struct rz_op *op, size_t item)
{
    const struct rz_index *x = op->index;
    size_t runs = n_runs(w), t = item / runs, run = item % runs, n = n_blocks_seen(w->batch, t);
    size_t first = run * n / runs, end = (run + 1) * n / runs;
    if ((size_t)rz_keys_seen(w->batch, t) > x->n_keys) score_keys(w, op, t, first, end, rz_row(x->scores, t));
}

/* A number that is greater for greater scores, and the same for equal ones: -0 is 0, and NaN the least score. */
static inline uint32_t order_of(float score)
{
    uint32_t bits;
    score = isnan(score) ? -INFINITY : score + 0.0f;
    memcpy(&bits, &score, sizeof bits);
    return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

/* The n_keys-th greatest order of n scores, found digit by digit; of those equal to it, `ties` are among the n_keys
 * greatest. */
static uint32_t least_chosen(const float *scores, size_t n, size_t n_keys, size_t *ties)
{
    uint32_t found = 0, known = 0;
    for (int shift = 24; shift >= 0; shift -= 8) {
        size_t count[256] = {0}, digit = 255;
        for (size_t i = 0; i < n; i++) {
            uint32_t order = order_of(scores[i]);
            if ((order & known) == found) count[order >> shift & 255]++;
        }
        while (count[digit] < n_keys) n_keys -= count[digit--];
        found |= (uint32_t)digit << shift;
        known |= 255u << shift;
    }
    *ties = n_keys;
    return found;
}

static void choose(const float *scores, size_t n, size_t n_keys, float *ids)
{
    size_t ties, n_chosen = 0;
    uint32_t least = least_chosen(scores, n, n_keys, &ties);
    for (size_t i = 0; i < n; i++) {
        uint32_t order = order_of(scores[i]);
        if (order > least || (order == least && ties > 0)) {
            ties -= order == least;
            ids[n_chosen++] = (float)i;
        }
    }
}

void rz_run_choose_keys(struct rz_worker *w, const struct rz_op *op, size_t t)
{
    const struct rz_index *x = op->index;
    size_t n = (size_t)rz_keys_seen(w->batch, t);
    float *ids = rz_row(op->y, t), *scores = has_rows(w, x) ? rz_row(x->scores, t) : NULL;
    if (n <= x->n_keys) {
        for (size_t i = 0; i < x->n_keys; i++) ids[i] = i < n ? (float)i : -1;
        return;
    }
    if (!scores) {
        size_t n_query = (size_t)(op->attention->n_head * op->attention->head_dim_k);
        scores = (float *)(w->scratch + RZ_INDEX_SCRATCH) + n_query;
        score_keys(w, op, t, 0, n_blocks_seen(w->batch, t), scores);
    }
    choose(scores, n, x->n_keys, ids);
}
