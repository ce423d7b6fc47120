/* Products: an item is a range of weight rows for a chunk of tokens. */
#include "realizar/worker.h"

/* From this many tokens on, unpacking a tile of weights pays (docs/benchmarks.md). */
#define GEMM_MIN_TOKENS 2

/* The rows of all weights, one after another, in tiles of RZ_TILE_ROWS; a weight begins with a tile of its own. */
static size_t tiles_of(const struct rz_weight *m) { return rz_ceil_div(m->n_row, RZ_TILE_ROWS); }

static size_t n_tiles(const struct rz_op *op)
{
    size_t n = 0;
    for (int j = 0; j < op->n_weight; j++) n += tiles_of(&op->weight[j]);
    return n;
}

/* Item i of a product: the tiles [begin, end). Rounds of n_threads items each take half of what is left, down to single
 * tiles: long runs of rows, which are read best (streams.h), and in the end small items, which even out slow cores. */
struct range {
    size_t begin, end;
};

static size_t tiles_of_round(size_t left, size_t n_threads)
{
    return n_threads == 1 ? left : RZ_MAX(left / (2 * n_threads), 1);
}

static size_t n_ranges(size_t tiles, size_t n_threads)
{
    size_t n = 0;
    for (; tiles > n_threads; n += n_threads) tiles -= n_threads * tiles_of_round(tiles, n_threads);
    return n + tiles;
}

static struct range find_range(size_t tiles, size_t n_threads, size_t item)
{
    size_t begin = 0;
    for (; tiles - begin > n_threads && item >= n_threads; item -= n_threads)
        begin += n_threads * tiles_of_round(tiles - begin, n_threads);
    size_t each = tiles - begin > n_threads ? tiles_of_round(tiles - begin, n_threads) : 1;
    return (struct range){begin + item * each, begin + (item + 1) * each};
}

/* Tokens of an item: equal shares of what products keep laid out. */
static size_t linear_tokens(const struct rz_worker *w, const struct rz_op *op)
{
    size_t n = rz_n_rows(w, op), shares = RZ_MAX(rz_ceil_div(n, rz_gemm_tokens(op->n)), 1);
    return rz_ceil_div(RZ_MAX(n, 1), 6 * shares) * 6;
}

size_t rz_items_linear(const struct rz_worker *w, const struct rz_op *op)
{
    return n_ranges(n_tiles(op), (size_t)w->n_threads) * rz_ceil_div(rz_n_rows(w, op), linear_tokens(w, op));
}

/* y += bias, y = residual + y over the rows and tokens of an item. */
static void linear_epilogue(const struct rz_worker *w, const struct rz_op *op, const struct rz_weight *m, size_t r0,
                            size_t r1, size_t t0, size_t t1)
{
    if (!m->bias && !op->x2.data) return;
    for (size_t t = t0; t < t1; t++) {
        float *y = rz_row(m->y, t) + r0;
        if (m->bias) w->kernels->add(y, m->bias + r0, r1 - r0, y);
        if (op->x2.data) w->kernels->add(rz_row(op->x2, t) + r0, y, r1 - r0, y);
    }
}

/* The rows [r0, r1) of one weight for the tokens [t0, t1). */
static void multiply(struct rz_worker *w, const struct rz_op *op, const struct rz_weight *m, size_t r0, size_t r1,
                     size_t t0, size_t t1)
{
    rz_matmul_fn *product = t1 - t0 < GEMM_MIN_TOKENS ? m->few : m->many;
    product(m->data, m->stride, op->n, r0, r1, m->x + t0 * m->x_stride, m->x_stride, t1 - t0, rz_row(m->y, t0), m->y.ld,
            w->scratch);
    linear_epilogue(w, op, m, r0, r1, t0, t1);
}

void rz_run_linear(struct rz_worker *w, const struct rz_op *op, size_t item)
{
    size_t tiles = n_tiles(op), n_threads = (size_t)w->n_threads, per_chunk = n_ranges(tiles, n_threads), first = 0;
    size_t tokens = linear_tokens(w, op), t0 = item / per_chunk * tokens, t1 = RZ_MIN(t0 + tokens, rz_n_rows(w, op));
    struct range range = find_range(tiles, n_threads, item % per_chunk);
    for (const struct rz_weight *m = op->weight; m < op->weight + op->n_weight; first += tiles_of(m), m++) {
        size_t r0 = RZ_MAX(range.begin, first) - first, r1 = RZ_MIN(RZ_MAX(range.end, first) - first, tiles_of(m));
        if (r0 < r1) multiply(w, op, m, r0 * RZ_TILE_ROWS, RZ_MIN(r1 * RZ_TILE_ROWS, m->n_row), t0, t1);
    }
}
