/* Products: an item is a range of weight rows for a chunk of tokens. */
#include "realizar/worker.h"

/* From this many rows on, unpacking a tile of weights pays (docs/benchmarks.md). */
#define GEMM_MIN_TOKENS 4
/* Activations of a token chunk stay in half of a common L2 while tiles of weights pass. */
#define CHUNK_BYTES (768 * 1024)

/* Weight rows of an item: eight items a worker even out slow cores; whole tiles. */
static size_t linear_rows(const struct rz_worker *w, const struct rz_op *op)
{
    size_t total = 0;
    for (int j = 0; j < op->n_weight; j++) total += op->weight[j].n_row;
    size_t tiles = total / (RZ_TILE_ROWS * 8 * (size_t)w->n_threads);
    return RZ_TILE_ROWS * RZ_MIN(RZ_MAX(tiles, 1), 16);
}

static size_t linear_tokens(const struct rz_op *op)
{
    size_t stride = 1;
    for (int j = 0; j < op->n_weight; j++) stride = RZ_MAX(stride, op->weight[j].x_stride);
    return RZ_MAX(CHUNK_BYTES / stride / 12, 4) * 12;
}

static size_t linear_row_items(const struct rz_worker *w, const struct rz_op *op)
{
    size_t items = 0, rows = linear_rows(w, op);
    for (int j = 0; j < op->n_weight; j++) items += rz_ceil_div(op->weight[j].n_row, rows);
    return items;
}

size_t rz_items_linear(const struct rz_worker *w, const struct rz_op *op)
{
    return linear_row_items(w, op) * rz_ceil_div(rz_n_rows(w, op), linear_tokens(op));
}

/* y += bias, y += residual over the rows and tokens of an item, while they are in cache. */
static void linear_epilogue(const struct rz_op *op, const struct rz_weight *m, size_t r0, size_t r1, size_t t0,
                            size_t t1)
{
    if (!m->bias && !op->x2.data) return;
    for (size_t t = t0; t < t1; t++) {
        float *y = rz_row(m->y, t);
        if (m->bias)
            for (size_t r = r0; r < r1; r++) y[r] += m->bias[r];
        if (op->x2.data) {
            const float *residual = rz_row(op->x2, t);
            for (size_t r = r0; r < r1; r++) y[r] = residual[r] + y[r];
        }
    }
}

void rz_run_linear(struct rz_worker *w, const struct rz_op *op, size_t item)
{
    size_t rows = linear_rows(w, op), tokens = linear_tokens(op), per_chunk = linear_row_items(w, op);
    size_t t0 = item / per_chunk * tokens, t1 = RZ_MIN(t0 + tokens, rz_n_rows(w, op));
    const struct rz_weight *m = op->weight;
    item %= per_chunk;
    for (; item >= rz_ceil_div(m->n_row, rows); m++) item -= rz_ceil_div(m->n_row, rows);
    size_t r0 = item * rows, r1 = RZ_MIN(r0 + rows, m->n_row), n = t1 - t0;
    rz_matmul_fn *product = n < GEMM_MIN_TOKENS ? m->few : m->many;
    product(m->data, m->stride, op->n, r0, r1, m->x + t0 * m->x_stride, m->x_stride, n, rz_row(m->y, t0), m->y.ld,
            w->scratch);
    linear_epilogue(op, m, r0, r1, t0, t1);
}
