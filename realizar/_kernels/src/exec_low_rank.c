/* Updates of products by the adapters of each sequence: an item is a part of one product for the rows of one set of
 * adapters, so that their factors are read once for all sequences that share it. Updates of embeddings and of experts,
 * whose factors differ from row to row, are computed row by row. */
#include "realizar/worker.h"

enum {
    DOWN_ROWS = 8,                /* rows of A of an item */
    UP_ROWS = 8 * RZ_FACTOR_TILE, /* rows of B of an item: for rank 16 they fit into L1 */
    ITEM_TOKENS = 64,
};

/* The part `index` of all items of an op: chunks of rows, fastest; then parts of a product, then sets. */
struct item {
    size_t chunk, part, set;
};

static size_t n_chunks(const struct rz_worker *w, const struct rz_op *op)
{
    return rz_ceil_div(rz_n_rows(w, op), ITEM_TOKENS);
}

static struct item find_item(const struct rz_worker *w, const struct rz_op *op, size_t n_part, size_t index)
{
    size_t chunks = n_chunks(w, op);
    return (struct item){index % chunks, index / chunks % n_part, index / chunks / n_part};
}

/* The first of an op's rows that is not before `row` of the step. */
static size_t first_from(const struct rz_batch *b, int m_rows, size_t row)
{
    if (!m_rows) return row;
    size_t low = 0, high = (size_t)b->n_outputs;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if ((size_t)b->outputs[middle] < row)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* The rows of sequence s in a chunk. */
static struct rz_range rows_of(const struct rz_batch *b, const struct rz_op *op, size_t s, size_t chunk)
{
    size_t begin = first_from(b, op->m_rows, (size_t)b->seq_start[s]);
    size_t end = first_from(b, op->m_rows, (size_t)b->seq_start[s + 1]), first = chunk * ITEM_TOKENS;
    return (struct rz_range){RZ_MAX(begin, first), RZ_MIN(end, first + ITEM_TOKENS)};
}

/* The factors of an adapter for a weight; NULL if it has none. */
static const struct rz_factors *factors_of(const struct rz_adapter *adapter, size_t slot)
{
    return slot < adapter->n_slot && adapter->factors[slot].b ? &adapter->factors[slot] : NULL;
}

static size_t down_parts(const struct rz_op *op) { return rz_ceil_div(op->updates->max_rank, DOWN_ROWS); }

size_t rz_items_low_rank_down(const struct rz_worker *w, const struct rz_op *op)
{
    return w->batch->n_set * op->updates->n * down_parts(op) * n_chunks(w, op);
}

/* The rows [r0, r1) of A for the rows of one set: ax = scale * A x, from element `place` on. */
static void multiply_down(struct rz_worker *w, const struct rz_op *op, const struct rz_factors *f, float scale,
                          struct rz_range r, size_t place, struct item at)
{
    const struct rz_batch *b = w->batch;
    rz_matmul_fn *product = w->kernels->format[f->format].matmul_f32;
    size_t stride = f->n_in * (f->format == RZ_F16 ? sizeof(uint16_t) : sizeof(float));
    for (size_t s = 0; s < (size_t)b->n_seqs; s++) {
        if (b->set_of[s] != (int32_t)at.set) continue;
        struct rz_range rows = rows_of(b, op, s, at.chunk);
        if (rows.begin >= rows.end) continue;
        float *y = rz_row(op->updates->ax, rows.begin) + place;
        product(f->a, stride, f->n_in, r.begin, r.end, rz_row(op->x, rows.begin), op->x.ld * sizeof(float),
                rows.end - rows.begin, y, op->updates->ax.ld, w->scratch);
        for (size_t t = 0; t < rows.end - rows.begin; t++) {
            float *ax = y + t * op->updates->ax.ld + r.begin;
            w->kernels->scale(ax, scale, r.end - r.begin, ax);
        }
    }
}

void rz_run_low_rank_down(struct rz_worker *w, const struct rz_op *op, size_t index)
{
    size_t parts = down_parts(op);
    struct item at = find_item(w, op, op->updates->n * parts, index);
    const struct rz_adapter_set *set = w->batch->set[at.set];
    size_t j = at.part / parts, first = at.part % parts * DOWN_ROWS, before = 0; /* ranks of the adapters before */
    for (size_t i = 0; i < set->n; i++) {
        const struct rz_factors *f = factors_of(set->adapter[i], op->updates->update[j].slot);
        if (!f || !f->a) continue;
        struct rz_range r = {RZ_MAX(first, before) - before, 0};
        r.end = RZ_MIN(RZ_MAX(first + DOWN_ROWS, before) - before, f->rank);
        float scale = set->scale[i] * f->scale;
        if (r.begin < r.end) multiply_down(w, op, f, scale, r, j * op->updates->max_rank + before, at);
        before += f->rank;
    }
}

static size_t up_parts(const struct rz_update *update) { return rz_ceil_div(update->n_row, UP_ROWS); }

static size_t all_up_parts(const struct rz_op *op)
{
    size_t n = 0;
    for (size_t j = 0; j < op->updates->n; j++) n += up_parts(&op->updates->update[j]);
    return n;
}

size_t rz_items_low_rank_up(const struct rz_worker *w, const struct rz_op *op)
{
    return w->batch->n_set * all_up_parts(op) * n_chunks(w, op);
}

/* Rows of B, from `row` on, for one row of an op: y += B ax, for each adapter of the set. */
static void multiply_up(struct rz_worker *w, const struct rz_op *op, const struct rz_adapter_set *set, size_t j,
                        size_t row, size_t t)
{
    const struct rz_update *update = &op->updates->update[j];
    const float *ax = op->updates->ax.data ? rz_row(op->updates->ax, t) + j * op->updates->max_rank : NULL;
    size_t n = RZ_MIN(update->n_row - row, UP_ROWS);
    for (size_t i = 0; i < set->n; i++) {
        const struct rz_factors *f = factors_of(set->adapter[i], update->slot);
        if (!f) continue;
        int is_half = f->format == RZ_F16;
        rz_add_product_fn *add = is_half ? w->kernels->add_product_f16 : w->kernels->add_product_f32;
        const char *b = f->b + row * f->rank * (is_half ? sizeof(uint16_t) : sizeof(float));
        add(f->a ? ax : &set->scale[i], b, f->rank, n, rz_row(update->y, t) + row);
        if (f->a) ax += f->rank;
    }
}

void rz_run_low_rank_up(struct rz_worker *w, const struct rz_op *op, size_t index)
{
    const struct rz_batch *b = w->batch;
    struct item at = find_item(w, op, all_up_parts(op), index);
    size_t j = 0;
    for (; at.part >= up_parts(&op->updates->update[j]); j++) at.part -= up_parts(&op->updates->update[j]);
    for (size_t s = 0; s < (size_t)b->n_seqs; s++) {
        if (b->set_of[s] != (int32_t)at.set) continue;
        struct rz_range rows = rows_of(b, op, s, at.chunk);
        for (size_t t = rows.begin; t < rows.end; t++) multiply_up(w, op, b->set[at.set], j, at.part * UP_ROWS, t);
    }
}

/* y += B ax for all n rows of B, which begins at b. */
static void add_rows(struct rz_worker *w, const struct rz_factors *f, const float *ax, const char *b, size_t n,
                     float *y)
{
    (f->format == RZ_F16 ? w->kernels->add_product_f16 : w->kernels->add_product_f32)(ax, b, f->rank, n, y);
}

const struct rz_adapter_set *rz_adapters_of(const struct rz_batch *b, int m_rows, size_t t)
{
    if (!b->n_set) return NULL;
    int32_t set = b->set_of[rz_sequence_of(b, rz_step_row(b, m_rows, t))];
    return set < 0 ? NULL : b->set[set];
}

/* An embedding that the step has in place of a token's is not changed. */
void rz_run_low_rank_embed(struct rz_worker *w, const struct rz_op *op, size_t t)
{
    const struct rz_batch *b = w->batch;
    const struct rz_update *update = &op->updates->update[0];
    const struct rz_adapter_set *set = rz_adapters_of(b, op->m_rows, t);
    if (!set || (op->by_token && b->embedding_of && b->embedding_of[t] >= 0)) return;
    float *ax = rz_row(op->updates->ax, t);
    for (size_t i = 0; i < set->n; i++) {
        const struct rz_factors *f = factors_of(set->adapter[i], update->slot);
        if (!f || !f->a) continue;
        size_t n_bytes = f->rank * (f->format == RZ_F16 ? sizeof(uint16_t) : sizeof(float));
        w->kernels->format[f->format].dequantize(f->a + (size_t)b->tokens[t] * n_bytes, f->rank, ax);
        w->kernels->scale(ax, set->scale[i] * f->scale * op->scalar, f->rank, ax);
        add_rows(w, f, ax, f->b, update->n_row, rz_row(update->y, t));
    }
}

void rz_update_of_expert(struct rz_worker *w, const struct rz_op *op, const struct rz_adapter_set *set, size_t j,
                         size_t expert, const float *x, float *ax, float *y)
{
    for (size_t i = 0; i < set->n; i++) {
        const struct rz_factors *f = factors_of(set->adapter[i], op->updates->update[j].slot);
        if (!f || !f->a) continue;
        size_t stride = f->n_in * (f->format == RZ_F16 ? sizeof(uint16_t) : sizeof(float));
        w->kernels->format[f->format].matmul_f32(f->a + expert * f->a_stride, stride, f->n_in, 0, f->rank, x,
                                                 f->n_in * sizeof(float), 1, ax, f->rank, w->scratch);
        w->kernels->scale(ax, set->scale[i] * f->scale, f->rank, ax);
        add_rows(w, f, ax, f->b + expert * f->b_stride, op->updates->update[j].n_row, y);
    }
}
