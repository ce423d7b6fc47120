/* The walk over a bound plan: every worker takes items of each op until none is left, then waits for the others. */
#include "realizar/exec.h"

#include <math.h>
#include <string.h>

#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))

/* From this many rows on, unpacking a tile of weights pays (docs/performance.md). */
#define GEMM_MIN_TOKENS 6
/* Activations of a token chunk stay in half of a common L2 while tiles of weights pass. */
#define CHUNK_BYTES (768 * 1024)

struct worker {
    const struct rz_program *program;
    const struct rz_batch *batch;
    const struct rz_kernels *kernels;
    char *scratch;
    int n_threads;
};

static size_t ceil_div(size_t a, size_t b) { return (a + b - 1) / b; }

static size_t n_rows(const struct worker *w, const struct rz_op *op)
{
    return (size_t)(op->m_rows ? w->batch->n_outputs : w->batch->n_tokens);
}

static float *row(struct rz_rows rows, size_t t) { return rows.data + t * rows.ld; }

/* ---- ops on rows: an item is one row --------------------------------------------------------------------------- */

static void run_embed(struct worker *w, const struct rz_op *op, size_t t)
{
    const struct rz_weight *table = op->weight;
    const char *source = table->data + (size_t)w->batch->tokens[t] * table->stride;
    w->kernels->format[op->embed_format].dequantize(source, op->n, row(op->y, t));
}

static void run_take_rows(struct worker *w, const struct rz_op *op, size_t t)
{
    memcpy(row(op->y, t), row(op->x, (size_t)w->batch->outputs[t]), op->n * sizeof(float));
}

/* Writes the records of a finished row that products will read. */
static void quantize_row(struct worker *w, const struct rz_op *op, const float *y, size_t t)
{
    size_t n = op->n * (size_t)op->n_repeat;
    if (op->act32)
        w->kernels->quantize_act_32(y, n, op->act32 + t * op->act32_stride);
    if (op->act256)
        w->kernels->quantize_act_256(y, n, op->act256 + t * op->act256_stride);
}

static void run_rowwise(struct worker *w, const struct rz_op *op, size_t t)
{
    const struct rz_kernels *k = w->kernels;
    const float *x = row(op->x, t);
    float *y = op->y.data ? row(op->y, t) : (float *)w->scratch; /* no y: only its records are wanted */
    size_t n = op->n;
    for (int g = 0; g < op->n_repeat; g++) {
        const float *xg = x + (size_t)g * n;
        const float *x2g = op->x2.data ? row(op->x2, t) + (size_t)g * n : NULL;
        float *yg = y + (size_t)g * n;
        switch (op->code) {
        case RZ_OP_RMS_NORM: k->rms_norm(xg, op->w, op->scalar, n, yg); break;
        case RZ_OP_LAYER_NORM: k->layer_norm(xg, op->w, op->b, op->scalar, n, yg); break;
        case RZ_OP_ADD: k->add(xg, x2g, n, yg); break;
        case RZ_OP_MUL: k->mul(xg, x2g, n, yg); break;
        case RZ_OP_SCALE: k->scale(xg, op->scalar, n, yg); break;
        case RZ_OP_SILU: k->silu(xg, n, yg); break;
        case RZ_OP_SWIGLU: k->silu_mul(xg, x2g, n, yg); break;
        default: break;
        }
    }
    quantize_row(w, op, y, t);
}

static void run_quantize(struct worker *w, const struct rz_op *op, size_t t) { quantize_row(w, op, row(op->x, t), t); }

/* ---- linear: an item is a range of weight rows for a chunk of tokens ------------------------------------------- */

/* Weight rows of an item: eight items a worker even out slow cores; whole tiles. */
static size_t linear_rows(const struct worker *w, const struct rz_op *op)
{
    size_t total = 0;
    for (int j = 0; j < op->n_weight; j++)
        total += op->weight[j].n_row;
    size_t tiles = total / (RZ_TILE_ROWS * 8 * (size_t)w->n_threads);
    return RZ_TILE_ROWS * MIN(MAX(tiles, 1), 16);
}

static size_t linear_tokens(const struct rz_op *op)
{
    size_t stride = 1;
    for (int j = 0; j < op->n_weight; j++)
        stride = MAX(stride, op->weight[j].x_stride);
    return MAX(CHUNK_BYTES / stride / 12, 4) * 12;
}

static size_t linear_row_items(const struct worker *w, const struct rz_op *op)
{
    size_t items = 0, rows = linear_rows(w, op);
    for (int j = 0; j < op->n_weight; j++)
        items += ceil_div(op->weight[j].n_row, rows);
    return items;
}

static size_t items_linear(const struct worker *w, const struct rz_op *op)
{
    return linear_row_items(w, op) * ceil_div(n_rows(w, op), linear_tokens(op));
}

/* y += bias, y += residual over the rows and tokens of an item, while they are in cache. */
static void linear_epilogue(const struct rz_op *op, const struct rz_weight *m, size_t r0, size_t r1, size_t t0, size_t t1)
{
    if (!m->bias && !op->x2.data)
        return;
    for (size_t t = t0; t < t1; t++) {
        float *y = row(m->y, t);
        if (m->bias)
            for (size_t r = r0; r < r1; r++)
                y[r] += m->bias[r];
        if (op->x2.data) {
            const float *residual = row(op->x2, t);
            for (size_t r = r0; r < r1; r++)
                y[r] = residual[r] + y[r];
        }
    }
}

static void run_linear(struct worker *w, const struct rz_op *op, size_t item)
{
    size_t rows = linear_rows(w, op), tokens = linear_tokens(op), per_chunk = linear_row_items(w, op);
    size_t t0 = item / per_chunk * tokens, t1 = MIN(t0 + tokens, n_rows(w, op));
    const struct rz_weight *m = op->weight;
    item %= per_chunk;
    for (; item >= ceil_div(m->n_row, rows); m++)
        item -= ceil_div(m->n_row, rows);
    size_t r0 = item * rows, r1 = MIN(r0 + rows, m->n_row), n = t1 - t0;
    rz_matmul_fn *product = n < GEMM_MIN_TOKENS ? m->few : m->many;
    product(m->data, m->stride, op->n, r0, r1, m->x + t0 * m->x_stride, m->x_stride, n, row(m->y, t0), m->y.ld, w->scratch);
    linear_epilogue(op, m, r0, r1, t0, t1);
}

/* ---- rotation and the cache ------------------------------------------------------------------------------------ */

static void run_rope_table(struct worker *w, const struct rz_op *op, size_t t)
{
    const struct rz_rope *r = op->rope;
    float *cos = row(r->table, t);
    rz_rope_table(r->inv_freq, (size_t)r->half, (float)w->batch->positions[t], r->mscale, cos, cos + r->half);
}

/* Rotates n_head heads of a token; the elements behind the rotated ones are copied. */
static void rotate(struct worker *w, const struct rz_rope *r, size_t t, const float *x, size_t n_head, size_t dim, float *y)
{
    const float *cos = row(r->table, t), *sin = cos + r->half;
    size_t half = (size_t)r->half;
    for (size_t h = 0; h < n_head; h++, x += dim, y += dim) {
        if (r->neox)
            w->kernels->rope_neox(x, cos, sin, half, y);
        else
            w->kernels->rope_norm(x, cos, sin, half, y);
        memcpy(y + 2 * half, x + 2 * half, (dim - 2 * half) * sizeof(float));
    }
}

static void run_rope(struct worker *w, const struct rz_op *op, size_t t)
{
    rotate(w, op->rope, t, row(op->x, t), (size_t)op->n_repeat, op->n, row(op->y, t));
}

static size_t sequence_of(const struct rz_batch *b, size_t t)
{
    size_t s = 0;
    while ((size_t)b->seq_start[s + 1] <= t)
        s++;
    return s;
}

static void run_kv_store(struct worker *w, const struct rz_op *op, size_t t)
{
    const struct rz_attention *a = op->attention;
    const struct rz_batch *b = w->batch;
    size_t s = sequence_of(b, t);
    int64_t position = (int64_t)b->seq_past[s] + (int64_t)t - b->seq_start[s];
    size_t dim = (size_t)a->head_dim_k;
    const int32_t *table = b->block_table[a->group] + s * (size_t)b->table_width[a->group];
    size_t block = (size_t)table[position / RZ_KV_BLOCK];
    int slot = (int)(position % RZ_KV_BLOCK);
    const float *k = row(a->k_in, t), *v = row(a->v_in, t);
    if (a->rope) {
        rotate(w, a->rope, t, row(a->q, t), (size_t)a->n_head, dim, row(a->q_rot, t));
        rotate(w, a->rope, t, k, (size_t)a->n_head_kv, dim, (float *)w->scratch);
        k = (const float *)w->scratch;
    }
    for (size_t h = 0; h < (size_t)a->n_head_kv; h++) {
        char *k_block = a->k + block * a->k_block_stride + h * a->k_head_stride;
        char *v_block = a->v + block * a->v_block_stride + h * a->v_head_stride;
        w->kernels->store_k[a->k_type](k + h * dim, dim, slot, k_block);
        w->kernels->store_v[a->v_type](v + h * (size_t)a->head_dim_v, (size_t)a->head_dim_v, slot, v_block);
    }
}

/* ---- attention: an item is a KV head and a tile of one sequence's tokens ---------------------------------------- */

struct tile {
    size_t sequence, t0, t1, head_kv; /* rows of the batch, [t0, t1) */
    int64_t pos0, key0, key1;         /* keys that some query of the tile sees */
};

static size_t tile_tokens(const struct rz_attention *a)
{
    return MAX((size_t)(RZ_ATTEND_MAX_QUERIES / (a->n_head / a->n_head_kv)), 1);
}

static size_t tiles_of(const struct rz_batch *b, const struct rz_attention *a, size_t s)
{
    return ceil_div((size_t)(b->seq_start[s + 1] - b->seq_start[s]), tile_tokens(a)) * (size_t)a->n_head_kv;
}

static size_t n_tiles(const struct rz_batch *b, const struct rz_attention *a)
{
    size_t n = 0;
    for (size_t s = 0; s < (size_t)b->n_seqs; s++)
        n += tiles_of(b, a, s);
    return n;
}

static struct tile find_tile(const struct rz_batch *b, const struct rz_attention *a, size_t item)
{
    struct tile tile = {0};
    for (; item >= tiles_of(b, a, tile.sequence); tile.sequence++)
        item -= tiles_of(b, a, tile.sequence);
    size_t first = (size_t)b->seq_start[tile.sequence], end = (size_t)b->seq_start[tile.sequence + 1];
    tile.head_kv = item % (size_t)a->n_head_kv;
    tile.t0 = first + item / (size_t)a->n_head_kv * tile_tokens(a);
    tile.t1 = MIN(tile.t0 + tile_tokens(a), end);
    int64_t past = b->seq_past[tile.sequence];
    tile.pos0 = past + (int64_t)(tile.t0 - first);
    tile.key1 = past + (int64_t)((a->causal ? tile.t1 : end) - first);
    if (a->window && a->causal && tile.pos0 + 1 > a->window)
        tile.key0 = tile.pos0 + 1 - a->window;
    tile.key0 -= tile.key0 % RZ_ATTEND_SPLIT;
    return tile;
}

static size_t tile_splits(const struct tile *tile)
{
    return ceil_div((size_t)(tile->key1 - tile->key0), RZ_ATTEND_SPLIT);
}

/* One split of a tile into m, l and acc. */
static void attend_split(struct worker *w, const struct rz_attention *a, const struct tile *tile, size_t split, float *acc,
                         float *m, float *l)
{
    const struct rz_batch *b = w->batch;
    int n_group = a->n_head / a->n_head_kv;
    struct rz_rows q = a->rope ? a->q_rot : a->q;
    struct rz_attend_args args = {
        .q = row(q, tile->t0) + tile->head_kv * (size_t)(n_group * a->head_dim_k),
        .q_stride = q.ld,
        .n_tokens = (int)(tile->t1 - tile->t0),
        .n_group = n_group,
        .head_dim_k = a->head_dim_k,
        .head_dim_v = a->head_dim_v,
        .pos0 = tile->pos0,
        .n_keys = tile->key1,
        .key0 = tile->key0 + (int64_t)split * RZ_ATTEND_SPLIT,
        .window = a->window,
        .causal = a->causal,
        .scale = a->scale,
        .softcap = a->softcap,
        .k = a->k + tile->head_kv * a->k_head_stride,
        .v = a->v + tile->head_kv * a->v_head_stride,
        .k_block_stride = a->k_block_stride,
        .v_block_stride = a->v_block_stride,
        .block_table = b->block_table[a->group] + tile->sequence * (size_t)b->table_width[a->group],
        .m = m,
        .l = l,
        .acc = acc,
        .scratch = w->scratch,
    };
    w->kernels->attend[a->k_type][a->v_type](&args);
}

/* out = acc / l for the queries of a tile. */
static void attend_finish(const struct rz_attention *a, const struct tile *tile, const float *acc, const float *l)
{
    size_t n_group = (size_t)(a->n_head / a->n_head_kv), dim = (size_t)a->head_dim_v, query = 0;
    for (size_t t = tile->t0; t < tile->t1; t++)
        for (size_t g = 0; g < n_group; g++, query++) {
            float *out = row(a->out, t) + (tile->head_kv * n_group + g) * dim;
            for (size_t d = 0; d < dim; d++)
                out[d] = acc[query * dim + d] / l[query];
        }
}

static void merge_splits(struct worker *w, const struct rz_attention *a, const struct tile *tile, float *acc, float *m,
                         float *l, const float *accp, const float *mp, const float *lp)
{
    size_t n_query = (tile->t1 - tile->t0) * (size_t)(a->n_head / a->n_head_kv), dim = (size_t)a->head_dim_v;
    for (size_t i = 0; i < n_query; i++)
        w->kernels->attend_merge(m + i, l + i, acc + i * dim, mp[i], lp[i], accp + i * dim, dim);
}

/* Whole tile on one worker, split after split. */
static void attend_tile(struct worker *w, const struct rz_attention *a, const struct tile *tile)
{
    size_t n_acc = (size_t)RZ_ATTEND_MAX_QUERIES * (size_t)a->head_dim_v;
    float *acc = (float *)(w->scratch + RZ_ATTEND_SCRATCH), *accp = acc + n_acc;
    float *m = accp + n_acc, *l = m + RZ_ATTEND_MAX_QUERIES, *mp = l + RZ_ATTEND_MAX_QUERIES;
    float *lp = mp + RZ_ATTEND_MAX_QUERIES;
    attend_split(w, a, tile, 0, acc, m, l);
    for (size_t split = 1; split < tile_splits(tile); split++) {
        attend_split(w, a, tile, split, accp, mp, lp);
        merge_splits(w, a, tile, acc, m, l, accp, mp, lp);
    }
    attend_finish(a, tile, acc, l);
}

/* Splits run side by side when single queries leave too few tiles for the workers and the partials fit: the greatest
 * number of splits of a tile then, else 1. */
static size_t parallel_splits(const struct worker *w, const struct rz_attention *a)
{
    const struct rz_batch *b = w->batch;
    size_t most = 1;
    if (w->n_threads == 1 || b->n_tokens != b->n_seqs || n_tiles(b, a) >= 4 * (size_t)w->n_threads)
        return 1;
    for (size_t item = 0; item < n_tiles(b, a); item += (size_t)a->n_head_kv) {
        struct tile tile = find_tile(b, a, item);
        most = MAX(most, tile_splits(&tile));
    }
    return n_tiles(b, a) * most <= a->n_partial ? most : 1;
}

/* Partial record of a split: acc, then m, then l of the n_group queries. */
static float *partial(const struct rz_attention *a, size_t index)
{
    return a->partial + index * (size_t)(a->n_head / a->n_head_kv) * (size_t)(a->head_dim_v + 2);
}

static size_t items_attend(const struct worker *w, const struct rz_op *op)
{
    return n_tiles(w->batch, op->attention) * parallel_splits(w, op->attention);
}

static void run_attend(struct worker *w, const struct rz_op *op, size_t item)
{
    const struct rz_attention *a = op->attention;
    size_t splits = parallel_splits(w, a), n_group = (size_t)(a->n_head / a->n_head_kv);
    struct tile tile = find_tile(w->batch, a, item / splits);
    if (splits == 1) {
        attend_tile(w, a, &tile);
        return;
    }
    float *acc = partial(a, item), *m = acc + n_group * (size_t)a->head_dim_v;
    if (item % splits < tile_splits(&tile))
        attend_split(w, a, &tile, item % splits, acc, m, m + n_group);
}

static size_t items_merge(const struct worker *w, const struct rz_op *op)
{
    return parallel_splits(w, op->attention) > 1 ? n_tiles(w->batch, op->attention) : 0;
}

static void run_merge(struct worker *w, const struct rz_op *op, size_t item)
{
    const struct rz_attention *a = op->attention;
    size_t splits = parallel_splits(w, a), n_group = (size_t)(a->n_head / a->n_head_kv);
    struct tile tile = find_tile(w->batch, a, item);
    float *acc = partial(a, item * splits), *m = acc + n_group * (size_t)a->head_dim_v;
    for (size_t split = 1; split < tile_splits(&tile); split++) {
        const float *accp = partial(a, item * splits + split), *mp = accp + n_group * (size_t)a->head_dim_v;
        merge_splits(w, a, &tile, acc, m, m + n_group, accp, mp, mp + n_group);
    }
    attend_finish(a, &tile, acc, m + n_group);
}

/* ---- recurrence: an item is a sequence -------------------------------------------------------------------------- */

static void run_short_conv(struct worker *w, const struct rz_op *op, size_t s)
{
    const struct rz_batch *b = w->batch;
    size_t n_past = op->n_tap - 1, n = op->n, t0 = (size_t)b->seq_start[s], n_row = (size_t)b->seq_start[s + 1] - t0;
    float *state = (float *)(op->state + (size_t)b->state_slots[s] * op->state_stride);
    const float **tap = (const float **)w->scratch;
    if (b->seq_past[s] == 0)
        memset(state, 0, n_past * n * sizeof(float));
    for (size_t t = 0; t < n_row; t++) {
        for (size_t j = 0; j < op->n_tap; j++) /* token t looks at rows t - n_past ... t of [state; x] */
            tap[j] = t + j < n_past ? state + (t + j) * n : row(op->x, t0 + t + j - n_past);
        w->kernels->conv_step(tap, op->w, op->n_tap, n, row(op->y, t0 + t));
    }
    for (size_t j = 0; j < n_past; j++) {
        const float *source = n_row + j < n_past ? state + (n_row + j) * n : row(op->x, t0 + n_row + j - n_past);
        memmove(state + j * n, source, n * sizeof(float));
    }
}

/* ---- the walk --------------------------------------------------------------------------------------------------- */

static size_t items_rows(const struct worker *w, const struct rz_op *op) { return n_rows(w, op); }
static size_t items_sequences(const struct worker *w, const struct rz_op *op) { return (size_t)w->batch->n_seqs; }

static const struct {
    size_t (*items)(const struct worker *, const struct rz_op *);
    void (*run)(struct worker *, const struct rz_op *, size_t item);
} OPS[RZ_N_OPS] = {
    [RZ_OP_EMBED] = {items_rows, run_embed},
    [RZ_OP_TAKE_ROWS] = {items_rows, run_take_rows},
    [RZ_OP_RMS_NORM] = {items_rows, run_rowwise},
    [RZ_OP_LAYER_NORM] = {items_rows, run_rowwise},
    [RZ_OP_ADD] = {items_rows, run_rowwise},
    [RZ_OP_MUL] = {items_rows, run_rowwise},
    [RZ_OP_SCALE] = {items_rows, run_rowwise},
    [RZ_OP_SILU] = {items_rows, run_rowwise},
    [RZ_OP_SWIGLU] = {items_rows, run_rowwise},
    [RZ_OP_QUANTIZE] = {items_rows, run_quantize},
    [RZ_OP_LINEAR] = {items_linear, run_linear},
    [RZ_OP_ROPE_TABLE] = {items_rows, run_rope_table},
    [RZ_OP_ROPE] = {items_rows, run_rope},
    [RZ_OP_KV_STORE] = {items_rows, run_kv_store},
    [RZ_OP_ATTEND] = {items_attend, run_attend},
    [RZ_OP_MERGE] = {items_merge, run_merge},
    [RZ_OP_SHORT_CONV] = {items_sequences, run_short_conv},
};

static void walk(void *arg, int index, int n_threads)
{
    struct rz_program *program = arg;
    struct worker w = {
        .program = program,
        .batch = program->batch,
        .kernels = program->kernels,
        .scratch = program->scratch + (size_t)index * program->scratch_stride,
        .n_threads = n_threads,
    };
    for (size_t i = 0; i < program->n_op; i++) {
        const struct rz_op *op = &program->op[i];
        size_t n = OPS[op->code].items(&w, op), item;
        if (n == 0)
            continue;
        while ((item = atomic_fetch_add_explicit(&program->next[i].item, 1, memory_order_relaxed)) < n)
            OPS[op->code].run(&w, op, item);
        if (n_threads > 1)
            rz_pool_barrier(program->pool);
    }
}

size_t rz_scratch_bytes(size_t k, size_t n_row_floats, size_t head_dim_v)
{
    size_t attend = RZ_ATTEND_SCRATCH + RZ_ATTEND_MAX_QUERIES * (2 * head_dim_v + 4) * sizeof(float);
    size_t most = MAX(MAX(rz_gemm_scratch(k), n_row_floats * sizeof(float)), attend);
    return ceil_div(most, 4096) * 4096;
}

int rz_program_run(struct rz_program *program, const struct rz_batch *batch)
{
    program->batch = batch;
    for (size_t i = 0; i < program->n_op; i++)
        atomic_store_explicit(&program->next[i].item, 0, memory_order_relaxed);
    return rz_pool_run(program->pool, walk, program);
}
