/* Mixtures of experts: the (token, rank) pairs of a step are sorted by expert; each expert is multiplied with its
 * pairs.
 *
 *     GROUP     pairs by expert, tokens ascending            one item
 *     GATHER    inputs of experts with several pairs         an item is a pair
 *     UP        h = act(gate x) * up x, or act(up x)         an item is a range of tiles of the chosen experts
 *     UPDATE_UP with adapters for gate or up: UP without act, then the updates, then act    an item is a pair
 *     QUANTIZE  h, if down reads quantized rows              an item is a pair
 *     DOWN      down h                                       like UP
 *     UPDATE_DOWN                                            an item is a pair
 *     SUM       the weighted sum in the order of the ranks   an item is a token
 *
 * The tiles of all chosen experts are numbered consecutively, so that workers do not wait for each other between
 * experts. */
#include <string.h>

#include "realizar/worker.h"

static size_t n_pairs(const struct rz_worker *w, const struct rz_op *op)
{
    return rz_n_rows(w, op) * (size_t)op->experts->n_used;
}

size_t rz_items_experts_group(const struct rz_worker *w, const struct rz_op *op) { return n_pairs(w, op) > 0; }

void rz_run_experts_group(struct rz_worker *w, const struct rz_op *op, size_t item)
{
    const struct rz_experts *e = op->experts;
    size_t n = rz_n_rows(w, op), n_used = (size_t)e->n_used, n_expert = (size_t)e->n_expert;
    memset(e->first, 0, (n_expert + 1) * sizeof *e->first);
    for (size_t t = 0; t < n; t++)
        for (size_t r = 0; r < n_used; r++) e->first[rz_expert(rz_row(e->ids, t)[r], n_expert) + 1]++;
    *e->n_active = 0;
    for (size_t i = 0; i < n_expert; i++) {
        if (e->first[i + 1]) e->active[(*e->n_active)++] = (int32_t)i;
        e->first[i + 1] += e->first[i];
    }
    for (size_t t = 0; t < n; t++)
        for (size_t r = 0; r < n_used; r++) {
            size_t i = rz_expert(rz_row(e->ids, t)[r], n_expert), place = (size_t)e->first[i]++;
            e->token[place] = (int32_t)t;
            e->place[t * n_used + r] = (int32_t)place;
        }
    memmove(e->first + 1, e->first, n_expert * sizeof *e->first); /* each start was advanced to its end */
    e->first[0] = 0;
}

/* The inputs of an expert: the row of its only token itself, or the gathered rows in the order of the pairs. */
static struct rz_weight of_expert(const struct rz_experts *e, const struct rz_expert_weight *all, size_t expert)
{
    struct rz_weight m = all->weight;
    size_t first = (size_t)e->first[expert], n = (size_t)(e->first[expert + 1] - e->first[expert]);
    m.data += expert * all->expert_stride;
    if (m.bias) m.bias += expert * m.n_row;
    if (m.scale) m.scale += expert;
    m.x = n == 1 && m.x ? m.x + (size_t)e->token[first] * m.x_stride : all->pairs + first * m.x_stride;
    m.y.data += first * m.y.ld;
    return m;
}

size_t rz_items_experts_gather(const struct rz_worker *w, const struct rz_op *op)
{
    size_t n = n_pairs(w, op);
    return n == (size_t)*op->experts->n_active ? 0 : n;
}

void rz_run_experts_gather(struct rz_worker *w, const struct rz_op *op, size_t item)
{
    const struct rz_experts *e = op->experts;
    size_t t = (size_t)e->token[item];
    for (int j = 0; j < e->n_up; j++) {
        const struct rz_expert_weight *m = &e->up[j];
        if (j == 0 || m->pairs != e->up[0].pairs)
            memcpy(m->pairs + item * m->weight.x_stride, m->weight.x + t * m->weight.x_stride, m->input_bytes);
    }
}

/* Splits the range of an item into the rows of each expert that it covers. */
typedef void rows_of_expert_fn(struct rz_worker *w, const struct rz_op *op, size_t expert, struct rz_range rows);

static void each_expert(struct rz_worker *w, const struct rz_op *op, size_t item, size_t n_row, rows_of_expert_fn *run)
{
    const struct rz_experts *e = op->experts;
    size_t n_active = (size_t)*e->n_active, tiles = rz_tiles(n_row);
    struct rz_range range = rz_find_range(n_active * tiles, (size_t)w->n_threads, item);
    for (size_t i = range.begin / tiles; i < n_active && i * tiles < range.end; i++) {
        struct rz_range rows = rz_rows_within(range, i * tiles, n_row);
        run(w, op, (size_t)e->active[i], rows);
    }
}

static size_t n_items(const struct rz_worker *w, const struct rz_op *op, size_t n_row)
{
    size_t n_active = n_pairs(w, op) ? (size_t)*op->experts->n_active : 0; /* stale if the step has no pairs */
    return rz_n_ranges(n_active * rz_tiles(n_row), (size_t)w->n_threads);
}

size_t rz_items_experts_up(const struct rz_worker *w, const struct rz_op *op)
{
    return n_items(w, op, op->experts->up[0].weight.n_row);
}

/* y = act(y) * up, or act(y) of experts without a gate. */
static void activate(const struct rz_worker *w, const struct rz_experts *e, float *y, float *up, size_t n)
{
    const struct rz_kernels *k = w->kernels;
    switch (e->activation) {
    case RZ_RELU2:
        k->relu(y, n, y);
        k->mul(y, y, n, y);
        break;
    case RZ_GELU_ERF:
        k->gelu_erf(y, n, y);
        break;
    case RZ_GEGLU:
        k->gelu_mul(y, up, n, y);
        break;
    case RZ_REGLU:
        k->relu(y, n, y);
        k->mul(y, up, n, y);
        break;
    case RZ_SWIGLU_OAI:
        k->swiglu_oai(y, up, n, y);
        break;
    default:
        if (e->limit > 0) {
            k->silu(y, n, y);
            k->clamp(y, e->limit, n, y);
            k->clamp(up, e->limit, n, up);
            k->mul(y, up, n, y);
        } else
            k->silu_mul(y, up, n, y);
    }
}

static void up_rows(struct rz_worker *w, const struct rz_op *op, size_t expert, struct rz_range rows)
{
    const struct rz_experts *e = op->experts;
    size_t n = (size_t)(e->first[expert + 1] - e->first[expert]), last = (size_t)e->n_up - 1;
    struct rz_weight first = of_expert(e, &e->up[0], expert), up = of_expert(e, &e->up[last], expert);
    size_t share = rz_token_share(n, RZ_MIN(rz_gemm_tokens_of(&first, op->n), rz_gemm_tokens_of(&up, op->n)));
    for (size_t t0 = 0; t0 < n; t0 += share) {
        size_t t1 = RZ_MIN(t0 + share, n);
        rz_multiply(w, &first, op->n, rows.begin, rows.end, t0, t1);
        if (last) rz_multiply(w, &up, op->n, rows.begin, rows.end, t0, t1);
        for (size_t t = t0; t < t1 && !e->is_linear; t++)
            activate(w, e, rz_row(first.y, t) + rows.begin, rz_row(up.y, t) + rows.begin, rows.end - rows.begin);
    }
}

void rz_run_experts_up(struct rz_worker *w, const struct rz_op *op, size_t item)
{
    each_expert(w, op, item, op->experts->up[0].weight.n_row, up_rows);
}

size_t rz_items_expert_pairs(const struct rz_worker *w, const struct rz_op *op) { return n_pairs(w, op); }

/* The expert of a pair. */
static size_t expert_of(const struct rz_experts *e, size_t pair)
{
    size_t t = (size_t)e->token[pair], r = 0;
    while ((size_t)e->place[t * (size_t)e->n_used + r] != pair) r++;
    return rz_expert(rz_row(e->ids, t)[r], (size_t)e->n_expert);
}

/* Adds what the adapters of a pair's sequence change of its products. */
static void update_pair(struct rz_worker *w, const struct rz_op *op, size_t pair, const float *x)
{
    const struct rz_updates *updates = op->updates;
    const struct rz_adapter_set *set = rz_adapters_of(w->batch, op->m_rows, (size_t)op->experts->token[pair]);
    if (!set) return;
    size_t expert = expert_of(op->experts, pair);
    for (size_t j = 0; j < updates->n; j++)
        rz_update_of_expert(w, op, set, j, expert, x, rz_row(updates->ax, pair), rz_row(updates->update[j].y, pair));
}

void rz_run_experts_update_up(struct rz_worker *w, const struct rz_op *op, size_t item)
{
    const struct rz_experts *e = op->experts;
    update_pair(w, op, item, rz_row(op->x, (size_t)e->token[item]));
    activate(w, e, rz_row(e->up[0].weight.y, item), rz_row(e->up[e->n_up - 1].weight.y, item), e->up[0].weight.n_row);
}

void rz_run_experts_update_down(struct rz_worker *w, const struct rz_op *op, size_t item)
{
    update_pair(w, op, item, rz_row(op->experts->up[0].weight.y, item));
}

void rz_run_experts_quantize(struct rz_worker *w, const struct rz_op *op, size_t item)
{
    const struct rz_experts *e = op->experts;
    size_t n_ff = e->up[0].weight.n_row;
    size_t stride = e->down.weight.x_stride;
    rz_quantize(w, e->down_block, rz_row(e->up[0].weight.y, item), n_ff, e->down.pairs + item * stride, stride,
                (float *)w->scratch);
}

size_t rz_items_experts_down(const struct rz_worker *w, const struct rz_op *op)
{
    return n_items(w, op, op->experts->down.weight.n_row);
}

static void down_rows(struct rz_worker *w, const struct rz_op *op, size_t expert, struct rz_range rows)
{
    const struct rz_experts *e = op->experts;
    struct rz_weight down = of_expert(e, &e->down, expert);
    size_t n = (size_t)(e->first[expert + 1] - e->first[expert]);
    size_t share = rz_token_share(n, rz_gemm_tokens_of(&down, op->n));
    for (size_t t0 = 0; t0 < n; t0 += share)
        rz_multiply(w, &down, op->n, rows.begin, rows.end, t0, RZ_MIN(t0 + share, n));
}

void rz_run_experts_down(struct rz_worker *w, const struct rz_op *op, size_t item)
{
    each_expert(w, op, item, op->experts->down.weight.n_row, down_rows);
}

void rz_run_experts_sum(struct rz_worker *w, const struct rz_op *op, size_t t)
{
    const struct rz_experts *e = op->experts;
    const int32_t *place = e->place + t * (size_t)e->n_used;
    const float *weight = rz_row(e->weights, t);
    float *y = rz_row(op->y, t), *part = (float *)w->scratch;
    w->kernels->scale(rz_row(e->down.weight.y, (size_t)place[0]), weight[0], op->n, y);
    for (int r = 1; r < e->n_used; r++) {
        w->kernels->scale(rz_row(e->down.weight.y, (size_t)place[r]), weight[r], op->n, part);
        w->kernels->add(y, part, op->n, y);
    }
}
