/* Recurrent ops, which update a state token by token: an item is a range of channels of one sequence. */
#include <string.h>

#include "realizar/worker.h"

/* Consecutive rows of a sequence, and the state before them, which they update. */
struct run {
    size_t t0, n_row;
    float *state;
};

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

/* The part of a state that a range of units updates: n_row times n floats, ld apart. */
struct part {
    size_t offset, n, n_row, ld;
};

static float *find_state(const struct rz_op *op, int32_t slot)
{
    return (float *)(op->state + (size_t)slot * op->state_stride);
}

/* Computes the rows of an item. A state is zero at position 0. The last n_drafts rows of a sequence may be rejected:
 * they continue in another slot, and the first one keeps the state before them. */
static void run_rows(struct rz_worker *w, const struct rz_op *op, struct range range, struct part part,
                     void (*compute)(struct rz_worker *, const struct rz_op *, struct range, struct run))
{
    const struct rz_batch *b = w->batch;
    size_t s = range.sequence, t0 = (size_t)b->seq_start[s], end = (size_t)b->seq_start[s + 1];
    size_t n_draft = b->n_drafts ? (size_t)b->n_drafts[s] : 0;
    float *state = find_state(op, b->state_slots[s]);
    for (size_t j = 0; b->seq_past[s] == 0 && j < part.n_row; j++)
        memset(state + part.offset + j * part.ld, 0, part.n * sizeof(float));
    compute(w, op, range, (struct run){t0, end - n_draft - t0, state});
    if (n_draft == 0) return;
    float *draft = find_state(op, b->draft_slots[s]);
    for (size_t j = 0; j < part.n_row; j++) {
        size_t at = part.offset + j * part.ld;
        memcpy(draft + at, state + at, part.n * sizeof(float));
    }
    compute(w, op, range, (struct run){end - n_draft, n_draft, draft});
}

/* A unit of the convolution: the channels of a cache line. */
enum { CONV_UNIT = 16 };

static size_t conv_units(const struct rz_op *op) { return rz_ceil_div(op->n, CONV_UNIT); }

size_t rz_items_causal_conv1d(const struct rz_worker *w, const struct rz_op *op)
{
    return (size_t)w->batch->n_seqs * n_ranges(w, conv_units(op));
}

static void run_conv(struct rz_worker *w, const struct rz_op *op, struct range range, struct run run)
{
    size_t c0 = range.first * CONV_UNIT, n = RZ_MIN(range.end * CONV_UNIT, op->n) - c0, n_past = op->n_tap - 1;
    struct rz_rows x = {op->x.data + c0, op->x.ld}, state = {run.state + c0, op->n};
    const float **tap = (const float **)w->scratch;
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

void rz_run_causal_conv1d(struct rz_worker *w, const struct rz_op *op, size_t item)
{
    struct range range = find_range(w, conv_units(op), item);
    size_t c0 = range.first * CONV_UNIT, n = RZ_MIN(range.end * CONV_UNIT, op->n) - c0;
    run_rows(w, op, range, (struct part){c0, n, op->n_tap - 1, op->n}, run_conv);
}

static void run_shift(struct rz_worker *w, const struct rz_op *op, struct range range, struct run run)
{
    size_t c0 = range.first * CONV_UNIT, n = RZ_MIN(range.end * CONV_UNIT, op->n) - c0;
    float *state = run.state + c0;
    for (size_t t = run.t0; t < run.t0 + run.n_row; t++) {
        const float *x = rz_row(op->x, t) + c0, *past = t == run.t0 ? state : rz_row(op->x, t - 1) + c0;
        for (size_t j = 0; j < (size_t)op->n_repeat; j++)
            w->kernels->mix(x, past, op->w + j * op->n + c0, n, rz_row(op->y, t) + j * op->n + c0);
    }
    memcpy(state, rz_row(op->x, run.t0 + run.n_row - 1) + c0, n * sizeof(float));
}

/* Rows of n_repeat mixes of n channels; the state is the previous row of x. */
void rz_run_token_shift(struct rz_worker *w, const struct rz_op *op, size_t item)
{
    struct range range = find_range(w, conv_units(op), item);
    size_t c0 = range.first * CONV_UNIT, n = RZ_MIN(range.end * CONV_UNIT, op->n) - c0;
    run_rows(w, op, range, (struct part){c0, n, 1, 0}, run_shift);
}

static size_t scan_units(const struct rz_scan *a) { return rz_ceil_div(a->n_head, a->unit); }

size_t rz_items_scan(const struct rz_worker *w, const struct rz_op *op)
{
    return (size_t)w->batch->n_seqs * n_ranges(w, scan_units(op->scan));
}

static void run_scan(struct rz_worker *w, const struct rz_op *op, struct range range, struct run run)
{
    const struct rz_scan *a = op->scan;
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
        .first = range.first * a->unit,
        .end = RZ_MIN(range.end * a->unit, a->n_head),
    };
    a->run(&args);
}

void rz_run_scan(struct rz_worker *w, const struct rz_op *op, size_t item)
{
    const struct rz_scan *a = op->scan;
    struct range range = find_range(w, scan_units(a), item);
    size_t first = range.first * a->unit, end = RZ_MIN(range.end * a->unit, a->n_head), each = a->head_dim * a->n_state;
    run_rows(w, op, range, (struct part){first * each, (end - first) * each, 1, 0}, run_scan);
}

static size_t delta_units(const struct rz_delta *a) { return a->n_head * rz_delta_units(a->head_dim_v); }

size_t rz_items_delta_rule(const struct rz_worker *w, const struct rz_op *op)
{
    return (size_t)w->batch->n_seqs * n_ranges(w, delta_units(op->delta));
}

static void run_delta(struct rz_worker *w, const struct rz_op *op, struct range range, struct run run)
{
    const struct rz_delta *a = op->delta;
    struct rz_delta_args args = {
        .q = rz_row(op->x, run.t0),
        .k = rz_row(a->k, run.t0),
        .v = rz_row(a->v, run.t0),
        .decay = rz_row(a->decay, run.t0),
        .beta = a->beta.data ? rz_row(a->beta, run.t0) : NULL,
        .a = a->a.data ? rz_row(a->a, run.t0) : NULL,
        .b = a->b.data ? rz_row(a->b, run.t0) : NULL,
        .ldq = op->x.ld,
        .ldk = a->k.ld,
        .ldv = a->v.ld,
        .lddecay = a->decay.ld,
        .ldbeta = a->beta.ld,
        .lda = a->a.ld,
        .ldb = a->b.ld,
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
    w->kernels->delta_rule(&args);
}

/* The first float of a unit's state, or for one past the last unit the end of the state. */
static size_t delta_offset(const struct rz_delta *a, size_t unit)
{
    size_t units = rz_delta_units(a->head_dim_v), channel = unit / units * a->head_dim_v + unit % units * RZ_DELTA_UNIT;
    return channel * a->head_dim_k;
}

void rz_run_delta_rule(struct rz_worker *w, const struct rz_op *op, size_t item)
{
    struct range range = find_range(w, delta_units(op->delta), item);
    size_t offset = delta_offset(op->delta, range.first);
    run_rows(w, op, range, (struct part){offset, delta_offset(op->delta, range.end) - offset, 1, 0}, run_delta);
}
