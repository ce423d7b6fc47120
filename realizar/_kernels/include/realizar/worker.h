/* The context of one worker in a running step, and the functions that split each op into items and run an item. */
#ifndef REALIZAR_WORKER_H
#define REALIZAR_WORKER_H

#include "realizar/exec.h"

#define RZ_MIN(a, b) ((a) < (b) ? (a) : (b))
#define RZ_MAX(a, b) ((a) > (b) ? (a) : (b))

struct rz_worker {
    const struct rz_batch *batch;
    const struct rz_kernels *kernels;
    char *scratch;
    float *sums; /* RZ_SUMS_BYTES */
    int n_threads, n_planes;
};

static inline size_t rz_ceil_div(size_t a, size_t b) { return (a + b - 1) / b; }

static inline float *rz_row(struct rz_rows rows, size_t t) { return rows.data + t * rows.ld; }

static inline size_t rz_n_rows(const struct rz_worker *w, const struct rz_op *op)
{
    return (size_t)(op->m_rows ? w->batch->n_outputs : w->batch->n_tokens);
}

/* The row of the step that is row t of an op's values. */
static inline size_t rz_step_row(const struct rz_batch *b, int m_rows, size_t t)
{
    return m_rows ? (size_t)b->outputs[t] : t;
}

/* The number of items of an op in this step, the same on every worker; and the function that runs one item. */
struct rz_op_run {
    size_t (*items)(const struct rz_worker *w, const struct rz_op *op);
    void (*run)(struct rz_worker *w, const struct rz_op *op, size_t item);
};

/* exec_rows.c */
/* Quantizes a row of n elements, once per plane, `stride` bytes for both: block is 32 or 256. spare: n floats. */
void rz_quantize(const struct rz_worker *w, int block, const float *x, size_t n, char *q_rows, size_t stride,
                 float *spare);
size_t rz_items_rows(const struct rz_worker *w, const struct rz_op *op);
void rz_run_embed(struct rz_worker *w, const struct rz_op *op, size_t t);
void rz_run_embed_ids(struct rz_worker *w, const struct rz_op *op, size_t t);
void rz_run_embed_positions(struct rz_worker *w, const struct rz_op *op, size_t t);
void rz_run_embed_types(struct rz_worker *w, const struct rz_op *op, size_t t);
void rz_run_gather_rows(struct rz_worker *w, const struct rz_op *op, size_t t);
void rz_run_pool_first(struct rz_worker *w, const struct rz_op *op, size_t t);
void rz_run_pool_mean(struct rz_worker *w, const struct rz_op *op, size_t t);
void rz_run_rowwise(struct rz_worker *w, const struct rz_op *op, size_t t);
void rz_run_quantize(struct rz_worker *w, const struct rz_op *op, size_t t);
void rz_run_rope_table(struct rz_worker *w, const struct rz_op *op, size_t t);
void rz_run_rope(struct rz_worker *w, const struct rz_op *op, size_t t);
void rz_rotate(struct rz_worker *w, const struct rz_rope *r, size_t t, const float *x, size_t n_head, size_t dim,
               float *y);

/* exec_linear.c: how products are distributed. Weight rows come in tiles of RZ_TILE_ROWS. */
struct rz_range {
    size_t begin, end;
};
static inline size_t rz_tiles(size_t n_row) { return rz_ceil_div(n_row, RZ_TILE_ROWS); }
/* The tiles of item i. Each round of n_threads items takes half of the remaining tiles, down to single tiles: first
 * long runs of rows, which memory serves best (streams.h), then small items, which balance slow cores. */
size_t rz_n_ranges(size_t tiles, size_t n_threads);
struct rz_range rz_find_range(size_t tiles, size_t n_threads, size_t item);
/* The rows of a weight that a range of tiles covers; the first tile of the weight has number `first`. */
static inline struct rz_range rz_rows_within(struct rz_range tiles, size_t first, size_t n_row)
{
    size_t begin = RZ_MAX(tiles.begin, first) - first, end = RZ_MAX(tiles.end, first) - first;
    return (struct rz_range){RZ_MIN(begin * RZ_TILE_ROWS, n_row), RZ_MIN(end * RZ_TILE_ROWS, n_row)};
}
/* The number of tokens that a product processes at once, and the number of an item: equal shares of at most that. */
size_t rz_gemm_tokens_of(const struct rz_weight *m, size_t k);
size_t rz_token_share(size_t n, size_t most);
/* The rows [r0, r1) of one weight for the tokens [t0, t1), with its bias. */
void rz_multiply(struct rz_worker *w, const struct rz_weight *m, size_t k, size_t r0, size_t r1, size_t t0, size_t t1);
size_t rz_items_linear(const struct rz_worker *w, const struct rz_op *op);
void rz_run_linear(struct rz_worker *w, const struct rz_op *op, size_t item);

/* exec_attention.c */
size_t rz_sequence_of(const struct rz_batch *b, size_t t);
/* The block table of a sequence. Without a cache, each sequence of the step has its own temporary blocks. */
const int32_t *rz_blocks_of(const struct rz_batch *b, const struct rz_attention *a, size_t s);
/* Number of keys that the query of a row sees, which are the first of its sequence. */
int64_t rz_keys_seen(const struct rz_batch *b, size_t t);
size_t rz_items_kv_store(const struct rz_worker *w, const struct rz_op *op);
void rz_run_kv_store(struct rz_worker *w, const struct rz_op *op, size_t item);
size_t rz_items_attend(const struct rz_worker *w, const struct rz_op *op);
void rz_run_attend(struct rz_worker *w, const struct rz_op *op, size_t item);
size_t rz_items_merge(const struct rz_worker *w, const struct rz_op *op);
void rz_run_merge(struct rz_worker *w, const struct rz_op *op, size_t item);

/* exec_index.c */
size_t rz_items_index_scores(const struct rz_worker *w, const struct rz_op *op);
void rz_run_index_scores(struct rz_worker *w, const struct rz_op *op, size_t item);
void rz_run_choose_keys(struct rz_worker *w, const struct rz_op *op, size_t t);

/* exec_route.c */
void rz_run_choose_experts(struct rz_worker *w, const struct rz_op *op, size_t t);
void rz_run_weigh_experts(struct rz_worker *w, const struct rz_op *op, size_t t);
/* Clamps an id to a valid index. */
static inline size_t rz_expert(float id, size_t n_expert) { return id >= 0 && id < (float)n_expert ? (size_t)id : 0; }

/* exec_experts.c */
size_t rz_items_experts_group(const struct rz_worker *w, const struct rz_op *op);
size_t rz_items_experts_gather(const struct rz_worker *w, const struct rz_op *op);
size_t rz_items_experts_up(const struct rz_worker *w, const struct rz_op *op);
void rz_run_experts_update_up(struct rz_worker *w, const struct rz_op *op, size_t item);
void rz_run_experts_update_down(struct rz_worker *w, const struct rz_op *op, size_t item);
size_t rz_items_expert_pairs(const struct rz_worker *w, const struct rz_op *op);
size_t rz_items_experts_down(const struct rz_worker *w, const struct rz_op *op);
void rz_run_experts_group(struct rz_worker *w, const struct rz_op *op, size_t item);
void rz_run_experts_gather(struct rz_worker *w, const struct rz_op *op, size_t item);
void rz_run_experts_up(struct rz_worker *w, const struct rz_op *op, size_t item);
void rz_run_experts_quantize(struct rz_worker *w, const struct rz_op *op, size_t item);
void rz_run_experts_down(struct rz_worker *w, const struct rz_op *op, size_t item);
void rz_run_experts_sum(struct rz_worker *w, const struct rz_op *op, size_t t);

/* exec_heads.c */
void rz_run_copy_heads(struct rz_worker *w, const struct rz_op *op, size_t t);
void rz_run_quantize_heads(struct rz_worker *w, const struct rz_op *op, size_t t);
size_t rz_items_per_head_linear(const struct rz_worker *w, const struct rz_op *op);
void rz_run_per_head_linear(struct rz_worker *w, const struct rz_op *op, size_t item);

/* exec_low_rank.c */
size_t rz_items_low_rank_down(const struct rz_worker *w, const struct rz_op *op);
void rz_run_low_rank_down(struct rz_worker *w, const struct rz_op *op, size_t item);
size_t rz_items_low_rank_up(const struct rz_worker *w, const struct rz_op *op);
void rz_run_low_rank_up(struct rz_worker *w, const struct rz_op *op, size_t item);
void rz_run_low_rank_embed(struct rz_worker *w, const struct rz_op *op, size_t t);
/* Updates the row y of product j of an op for one expert and one input x, by the adapters of a set. */
void rz_update_of_expert(struct rz_worker *w, const struct rz_op *op, const struct rz_adapter_set *set, size_t j,
                         size_t expert, const float *x, float *ax, float *y);
/* The adapters of row t of an op; NULL if its sequence has none. */
const struct rz_adapter_set *rz_adapters_of(const struct rz_batch *b, int m_rows, size_t t);

/* exec_recurrent.c */
size_t rz_items_causal_conv1d(const struct rz_worker *w, const struct rz_op *op);
void rz_run_causal_conv1d(struct rz_worker *w, const struct rz_op *op, size_t item);
void rz_run_token_shift(struct rz_worker *w, const struct rz_op *op, size_t item);
size_t rz_items_scan(const struct rz_worker *w, const struct rz_op *op);
void rz_run_scan(struct rz_worker *w, const struct rz_op *op, size_t item);
size_t rz_items_delta_rule(const struct rz_worker *w, const struct rz_op *op);
void rz_run_delta_rule(struct rz_worker *w, const struct rz_op *op, size_t item);

#endif
