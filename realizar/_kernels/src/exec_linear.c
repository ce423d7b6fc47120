/* Products: an item is a range of weight rows for a chunk of tokens. */
#include "realizar/worker.h"

/* From this many rows on, unpacking a tile of weights pays (docs/benchmarks.md). */
#define GEMM_MIN_TOKENS 4
/* Activations of a token chunk stay in half of a common L2 while tiles of weights pass. */
#define CHUNK_BYTES (768 * 1024)

/* The rows of all weights, one after another, in tiles of RZ_TILE_ROWS; a weight begins with a tile of its own. */
static size_t tiles_of(const struct rz_weight *m) { return rz_ceil_div(m->n_row, RZ_TILE_ROWS); }

static size_t n_tiles(const struct rz_op *op)
{
    size_t n = 0;
    for (int j = 0; j < op->n_weight; j++) n += tiles_of(&op->weight[j]);
    return n;
}

/* How the tiles are shared out: `large` ones, one for each worker, then small ones that even out slow cores. */
struct shares {
    size_t n_large, large, small, n_items;
};

/* A product that waits for memory reads long runs of rows best (streams.h), so half of it is shared out beforehand. */
static struct shares share_out(const struct rz_worker *w, const struct rz_op *op, int streams)
{
    size_t tiles = n_tiles(op), n = (size_t)w->n_threads;
    struct shares s = {.n_large = streams ? n : 0, .large = tiles / (2 * n)};
    size_t left = tiles - s.n_large * s.large;
    s.small = RZ_MIN(RZ_MAX(left / (streams ? 2 * n : 8 * n), 1), 16);
    s.n_items = s.n_large + rz_ceil_div(left, s.small);
    return s;
}

static size_t linear_tokens(const struct rz_op *op)
{
    size_t stride = 1;
    for (int j = 0; j < op->n_weight; j++) stride = RZ_MAX(stride, op->weight[j].x_stride);
    return RZ_MAX(CHUNK_BYTES / stride / 12, 4) * 12;
}

static int streams(const struct rz_worker *w, const struct rz_op *op) { return rz_n_rows(w, op) < GEMM_MIN_TOKENS; }

size_t rz_items_linear(const struct rz_worker *w, const struct rz_op *op)
{
    return share_out(w, op, streams(w, op)).n_items * rz_ceil_div(rz_n_rows(w, op), linear_tokens(op));
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

/* The rows [r0, r1) of one weight for the tokens [t0, t1). */
static void multiply(struct rz_worker *w, const struct rz_op *op, const struct rz_weight *m, size_t r0, size_t r1,
                     size_t t0, size_t t1)
{
    rz_matmul_fn *product = t1 - t0 < GEMM_MIN_TOKENS ? m->few : m->many;
    product(m->data, m->stride, op->n, r0, r1, m->x + t0 * m->x_stride, m->x_stride, t1 - t0, rz_row(m->y, t0), m->y.ld,
            w->scratch);
    linear_epilogue(op, m, r0, r1, t0, t1);
}

void rz_run_linear(struct rz_worker *w, const struct rz_op *op, size_t item)
{
    struct shares s = share_out(w, op, streams(w, op));
    size_t tokens = linear_tokens(op), t0 = item / s.n_items * tokens, t1 = RZ_MIN(t0 + tokens, rz_n_rows(w, op));
    item %= s.n_items;
    size_t begin = item < s.n_large ? item * s.large : s.n_large * s.large + (item - s.n_large) * s.small;
    size_t end = begin + (item < s.n_large ? s.large : s.small), first = 0;
    for (const struct rz_weight *m = op->weight; m < op->weight + op->n_weight; first += tiles_of(m), m++) {
        size_t r0 = RZ_MAX(begin, first) - first, r1 = RZ_MIN(RZ_MAX(end, first) - first, tiles_of(m));
        if (r0 < r1) multiply(w, op, m, r0 * RZ_TILE_ROWS, RZ_MIN(r1 * RZ_TILE_ROWS, m->n_row), t0, t1);
    }
}
