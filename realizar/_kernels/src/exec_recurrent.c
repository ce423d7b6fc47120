/* Recurrent ops, which update a state token by token: an item is a range of channels of one sequence. */
#include <string.h>

#include "realizar/worker.h"

/* A sequence: its first row, its number of rows, and its state, which is zero at position 0. */
struct run {
    size_t t0, n_row;
    float *state;
    int is_first;
};

static struct run find_run(const struct rz_worker *w, const struct rz_op *op, size_t s)
{
    const struct rz_batch *b = w->batch;
    size_t t0 = (size_t)b->seq_start[s];
    float *state = (float *)(op->state + (size_t)b->state_slots[s] * op->state_stride);
    return (struct run){t0, (size_t)b->seq_start[s + 1] - t0, state, b->seq_past[s] == 0};
}

/* The number of ranges into which the n units of a sequence are divided: several for each worker, to balance slow
 * cores. */
static size_t n_ranges(const struct rz_worker *w, size_t n)
{
    return w->n_threads == 1 ? 1 : RZ_MIN(n, 4 * (size_t)w->n_threads);
}

struct range {
    size_t sequence, first, end; /* units [first, end) */
};

static struct range find_range(const struct rz_worker *w, size_t n, size_t item)
{
    size_t ranges = n_ranges(w, n), r = item % ranges;
    return (struct range){item / ranges, r * n / ranges, (r + 1) * n / ranges};
}

/* A unit of the convolution: the channels of a cache line. */
enum { CONV_UNIT = 16 };

static size_t conv_units(const struct rz_op *op) { return rz_ceil_div(op->n, CONV_UNIT); }

size_t rz_items_causal_conv1d(const struct rz_worker *w, const struct rz_op *op)
{
    return (size_t)w->batch->n_seqs * n_ranges(w, conv_units(op));
}

void rz_run_causal_conv1d(struct rz_worker *w, const struct rz_op *op, size_t item)
{
    struct range range = find_range(w, conv_units(op), item);
    struct run run = find_run(w, op, range.sequence);
    size_t c0 = range.first * CONV_UNIT, n = RZ_MIN(range.end * CONV_UNIT, op->n) - c0, n_past = op->n_tap - 1;
    struct rz_rows x = {op->x.data + c0, op->x.ld}, state = {run.state + c0, op->n};
    const float **tap = (const float **)w->scratch;
    for (size_t j = 0; run.is_first && j < n_past; j++) memset(rz_row(state, j), 0, n * sizeof(float));
    for (size_t t = 0; t < run.n_row; t++) {
        for (size_t j = 0; j < op->n_tap; j++) /* token t reads rows t - n_past ... t of [state; x] */
            tap[j] = t + j < n_past ? rz_row(state, t + j) : rz_row(x, run.t0 + t + j - n_past);
        float *y = rz_row(op->y, run.t0 + t) + c0;
        w->kernels->conv_step(tap, op->w + c0, op->n, op->b ? op->b + c0 : NULL, op->n_tap, n, y);
        if (op->silu) w->kernels->silu(y, n, y);
    }
    for (size_t j = 0; j < n_past; j++) {
        size_t t = run.n_row + j;
        memmove(rz_row(state, j), t < n_past ? rz_row(state, t) : rz_row(x, run.t0 + t - n_past), n * sizeof(float));
    }
}

static size_t scan_units(const struct rz_scan *a) { return rz_ceil_div(a->n_head, a->unit); }

size_t rz_items_scan(const struct rz_worker *w, const struct rz_op *op)
{
    return (size_t)w->batch->n_seqs * n_ranges(w, scan_units(op->scan));
}

void rz_run_scan(struct rz_worker *w, const struct rz_op *op, size_t item)
{
    const struct rz_scan *a = op->scan;
    struct range range = find_range(w, scan_units(a), item);
    struct run run = find_run(w, op, range.sequence);
    size_t first = range.first * a->unit, end = RZ_MIN(range.end * a->unit, a->n_head), each = a->head_dim * a->n_state;
    struct rz_scan_args args = {
        .x = rz_row(op->x, run.t0),
        .dt = rz_row(a->dt, run.t0),
        .b = rz_row(a->b, run.t0),
        .c = rz_row(a->c, run.t0),
        .a = a->a,
        .d = a->d,
        .dt_bias = a->dt_bias,
        .ldx = op->x.ld,
        .lddt = a->dt.ld,
        .ldb = a->b.ld,
        .ldc = a->c.ld,
        .ldy = op->y.ld,
        .state = run.state,
        .y = rz_row(op->y, run.t0),
        .n_tokens = run.n_row,
        .n_head = a->n_head,
        .head_dim = a->head_dim,
        .n_state = a->n_state,
        .n_group = a->n_group,
        .first = first,
        .end = end,
    };
    if (run.is_first) memset(run.state + first * each, 0, (end - first) * each * sizeof(float));
    a->run(&args);
}

static size_t delta_units(const struct rz_delta *a) { return a->n_head * rz_delta_units(a->head_dim_v); }

size_t rz_items_delta_rule(const struct rz_worker *w, const struct rz_op *op)
{
    return (size_t)w->batch->n_seqs * n_ranges(w, delta_units(op->delta));
}

void rz_run_delta_rule(struct rz_worker *w, const struct rz_op *op, size_t item)
{
    const struct rz_delta *a = op->delta;
    struct range range = find_range(w, delta_units(a), item);
    struct run run = find_run(w, op, range.sequence);
    struct rz_delta_args args = {
        .q = rz_row(op->x, run.t0),
        .k = rz_row(a->k, run.t0),
        .v = rz_row(a->v, run.t0),
        .decay = rz_row(a->decay, run.t0),
        .beta = rz_row(a->beta, run.t0),
        .ldq = op->x.ld,
        .ldk = a->k.ld,
        .ldv = a->v.ld,
        .lddecay = a->decay.ld,
        .ldbeta = a->beta.ld,
        .ldy = op->y.ld,
        .state = run.state,
        .y = rz_row(op->y, run.t0),
        .n_tokens = run.n_row,
        .n_head = a->n_head,
        .n_head_k = a->n_head_k,
        .head_dim_k = a->head_dim_k,
        .head_dim_v = a->head_dim_v,
        .by_channel = a->by_channel,
        .tiled = a->tiled,
        .first = range.first,
        .end = range.end,
    };
    for (size_t i = range.first; run.is_first && i < range.end; i++) {
        struct rz_delta_unit unit = rz_delta_find(&args, i);
        size_t channel = unit.head * a->head_dim_v + unit.channel;
        memset(run.state + channel * a->head_dim_k, 0, unit.n * a->head_dim_k * sizeof(float));
    }
    w->kernels->delta_rule(&args);
}
