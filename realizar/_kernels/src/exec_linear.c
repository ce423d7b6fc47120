/* Products: an item is a range of weight rows for a chunk of tokens. */
#include "realizar/worker.h"

/* From this many tokens on, unpacking tiles of weights pays off (docs/benchmarks.md). */
#define GEMM_MIN_TOKENS 2
/* Number of weight rows for which the sums of two planes stay in L1, and which can still be read in long runs
 * (streams.h). */
#define MOST_SUM_ROWS 2048

/* The rows of all weights are numbered consecutively; each weight begins with a new tile. */
static size_t n_tiles(const struct rz_op *op)
{
    size_t n = 0;
    for (int j = 0; j < op->n_weight; j++) n += rz_tiles(op->weight[j].n_row);
    return n;
}

static size_t tiles_of_round(size_t left, size_t n_threads)
{
    return n_threads == 1 ? left : RZ_MAX(left / (2 * n_threads), 1);
}

size_t rz_n_ranges(size_t tiles, size_t n_threads)
{
    size_t n = 0;
    for (; tiles > n_threads; n += n_threads) tiles -= n_threads * tiles_of_round(tiles, n_threads);
    return n + tiles;
}

struct rz_range rz_find_range(size_t tiles, size_t n_threads, size_t item)
{
    size_t begin = 0;
    for (; tiles - begin > n_threads && item >= n_threads; item -= n_threads)
        begin += n_threads * tiles_of_round(tiles - begin, n_threads);
    size_t each = tiles - begin > n_threads ? tiles_of_round(tiles - begin, n_threads) : 1;
    return (struct rz_range){begin + item * each, begin + (item + 1) * each};
}

size_t rz_gemm_tokens_of(const struct rz_weight *m, size_t k)
{
    size_t rows = m->gemm_tokens ? m->gemm_tokens(k) : rz_gemm_tokens(k);
    return m->n_planes == 1 ? rows : RZ_MAX(rows / (size_t)m->n_planes / 6 * 6, 6);
}

size_t rz_token_share(size_t n, size_t most)
{
    size_t shares = RZ_MAX(rz_ceil_div(n, most), 1);
    return rz_ceil_div(RZ_MAX(n, 1), 6 * shares) * 6;
}

/* The number of tokens of an item: as many as all products of the op can process at once. */
static size_t linear_tokens(const struct rz_worker *w, const struct rz_op *op)
{
    size_t most = SIZE_MAX;
    for (int j = 0; j < op->n_weight; j++) most = RZ_MIN(most, rz_gemm_tokens_of(&op->weight[j], op->n));
    return rz_token_share(rz_n_rows(w, op), most);
}

size_t rz_items_linear(const struct rz_worker *w, const struct rz_op *op)
{
    return rz_n_ranges(n_tiles(op), (size_t)w->n_threads) * rz_ceil_div(rz_n_rows(w, op), linear_tokens(w, op));
}

/* The products with both planes of the tokens for some rows, and their sums. */
static void multiply_planes(struct rz_worker *w, const struct rz_weight *m, size_t k, size_t r0, size_t r1, size_t t0,
                            size_t t1)
{
    rz_matmul_fn *product = t1 - t0 < GEMM_MIN_TOKENS ? m->gemv : m->gemm;
    size_t n = 2 * (t1 - t0), fit = RZ_SUMS_BYTES / sizeof(float) / n / RZ_TILE_ROWS * RZ_TILE_ROWS;
    size_t most = RZ_MIN(fit, MOST_SUM_ROWS);
    for (size_t r = r0; r < r1; r += most) {
        size_t n_row = RZ_MIN(most, r1 - r);
        product(m->data + r * m->stride, m->stride, k, 0, n_row, m->x + t0 * m->x_stride, m->x_stride / 2, n, w->sums,
                most, w->scratch);
        for (size_t t = t0; t < t1; t++) {
            const float *sums = w->sums + 2 * (t - t0) * most;
            w->kernels->add(sums, sums + most, n_row, rz_row(m->y, t) + r);
        }
    }
}

void rz_multiply(struct rz_worker *w, const struct rz_weight *m, size_t k, size_t r0, size_t r1, size_t t0, size_t t1)
{
    rz_matmul_fn *product = t1 - t0 < GEMM_MIN_TOKENS ? m->gemv : m->gemm;
    if (m->n_planes == 1)
        product(m->data, m->stride, k, r0, r1, m->x + t0 * m->x_stride, m->x_stride, t1 - t0, rz_row(m->y, t0), m->y.ld,
                w->scratch);
    else
        multiply_planes(w, m, k, r0, r1, t0, t1);
    if (!m->bias && !m->scale) return;
    for (size_t t = t0; t < t1; t++) {
        float *y = rz_row(m->y, t) + r0;
        if (m->scale) w->kernels->scale(y, *m->scale, r1 - r0, y);
        if (m->bias) w->kernels->add(y, m->bias + r0, r1 - r0, y);
    }
}

/* Some rows of one weight for the tokens [t0, t1), plus the residual x2. */
static void multiply(struct rz_worker *w, const struct rz_op *op, const struct rz_weight *m, struct rz_range rows,
                     size_t t0, size_t t1)
{
    rz_multiply(w, m, op->n, rows.begin, rows.end, t0, t1);
    if (!op->x2.data) return;
    for (size_t t = t0; t < t1; t++) {
        float *y = rz_row(m->y, t) + rows.begin;
        w->kernels->add(rz_row(op->x2, t) + rows.begin, y, rows.end - rows.begin, y);
    }
}

void rz_run_linear(struct rz_worker *w, const struct rz_op *op, size_t item)
{
    size_t tiles = n_tiles(op), n_threads = (size_t)w->n_threads, per_chunk = rz_n_ranges(tiles, n_threads), first = 0;
    size_t n = rz_n_rows(w, op), tokens = linear_tokens(w, op), t0 = item / per_chunk * tokens;
    struct rz_range range = rz_find_range(tiles, n_threads, item % per_chunk);
    for (const struct rz_weight *m = op->weight; m < op->weight + op->n_weight; first += rz_tiles(m->n_row), m++) {
        struct rz_range rows = rz_rows_within(range, first, m->n_row);
        if (rows.begin < rows.end) multiply(w, op, m, rows, t0, RZ_MIN(t0 + tokens, n));
    }
}
