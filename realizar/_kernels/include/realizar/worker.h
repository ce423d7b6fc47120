/* What one worker of a running step knows, and the ops that it can run: items(op) of them, one at a time. */
#ifndef REALIZAR_WORKER_H
#define REALIZAR_WORKER_H

#include "realizar/exec.h"

#define RZ_MIN(a, b) ((a) < (b) ? (a) : (b))
#define RZ_MAX(a, b) ((a) > (b) ? (a) : (b))

struct rz_worker {
    const struct rz_batch *batch;
    const struct rz_kernels *kernels;
    char *scratch;
    int n_threads;
};

static inline size_t rz_ceil_div(size_t a, size_t b) { return (a + b - 1) / b; }

static inline float *rz_row(struct rz_rows rows, size_t t) { return rows.data + t * rows.ld; }

static inline size_t rz_n_rows(const struct rz_worker *w, const struct rz_op *op)
{
    return (size_t)(op->m_rows ? w->batch->n_outputs : w->batch->n_tokens);
}

/* How many items an op has in this step, the same on every worker; and one item of it. */
struct rz_op_run {
    size_t (*items)(const struct rz_worker *w, const struct rz_op *op);
    void (*run)(struct rz_worker *w, const struct rz_op *op, size_t item);
};

/* exec_rows.c */
size_t rz_items_rows(const struct rz_worker *w, const struct rz_op *op);
size_t rz_items_sequences(const struct rz_worker *w, const struct rz_op *op);
void rz_run_embed(struct rz_worker *w, const struct rz_op *op, size_t t);
void rz_run_embed_positions(struct rz_worker *w, const struct rz_op *op, size_t t);
void rz_run_take_rows(struct rz_worker *w, const struct rz_op *op, size_t t);
void rz_run_rowwise(struct rz_worker *w, const struct rz_op *op, size_t t);
void rz_run_quantize(struct rz_worker *w, const struct rz_op *op, size_t t);
void rz_run_rope_table(struct rz_worker *w, const struct rz_op *op, size_t t);
void rz_run_rope(struct rz_worker *w, const struct rz_op *op, size_t t);
void rz_rotate(struct rz_worker *w, const struct rz_rope *r, size_t t, const float *x, size_t n_head, size_t dim,
               float *y);
void rz_run_short_conv(struct rz_worker *w, const struct rz_op *op, size_t sequence);

/* exec_linear.c */
size_t rz_items_linear(const struct rz_worker *w, const struct rz_op *op);
void rz_run_linear(struct rz_worker *w, const struct rz_op *op, size_t item);

/* exec_attention.c */
void rz_run_kv_store(struct rz_worker *w, const struct rz_op *op, size_t t);
size_t rz_items_attend(const struct rz_worker *w, const struct rz_op *op);
void rz_run_attend(struct rz_worker *w, const struct rz_op *op, size_t item);
size_t rz_items_merge(const struct rz_worker *w, const struct rz_op *op);
void rz_run_merge(struct rz_worker *w, const struct rz_op *op, size_t item);

#endif
