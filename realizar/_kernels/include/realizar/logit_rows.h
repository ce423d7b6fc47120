/* Summaries of the blocks of several rows of logits, computed by all workers of a pool. */
#ifndef REALIZAR_LOGIT_ROWS_H
#define REALIZAR_LOGIT_ROWS_H

#include <stdatomic.h>

#include "realizar/table.h"

struct rz_logit_rows {
    const struct rz_kernels *kernels;
    const float *x; /* row i begins at x + i * ld and has n elements */
    size_t n_row, n, ld, n_block;
    float *out; /* [n_row][2][n_block]: block maxima, then block sums; see rz_logit_sums_fn */
    atomic_size_t next;
};

/* A worker's share: a rz_pool_fn over a struct rz_logit_rows whose next is 0. */
void rz_logit_rows_run(void *rows, int worker, int n_threads);

#endif
