/* Attention over the paged cache: an item is a KV head and a tile of one sequence's tokens, or a run of splits.
 * Where only the requested outputs have rows, a tile is one of them, unless all tokens are requested. */
#include <string.h>

#include "realizar/scalar/hadamard.h"
#include "realizar/scalar/kv.h"
#include "realizar/scalar/math.h"
#include "realizar/worker.h"

size_t rz_sequence_of(const struct rz_batch *b, size_t t)
{
    size_t s = 0;
    while ((size_t)b->seq_start[s + 1] <= t) s++;
    return s;
}

/* The sequences before s take at most seq_start[s] / RZ_KV_BLOCK + s temporary blocks. */
const int32_t *rz_blocks_of(const struct rz_batch *b, const struct rz_attention *a, size_t s)
{
    if (a->group < 0) return a->step_blocks + (size_t)b->seq_start[s] / RZ_KV_BLOCK + s;
    return b->block_table[a->group] + s * (size_t)b->table_width[a->group];
}

int64_t rz_keys_seen(const struct rz_batch *b, size_t t)
{
    size_t s = rz_sequence_of(b, t);
    return (int64_t)b->seq_past[s] + (int64_t)t - b->seq_start[s] + 1 + (b->reach ? b->reach[t].after : 0);
}

/* Rows of an item of kv_store: up to a block of the cache, but enough items for every worker. */
static size_t store_rows(const struct rz_worker *w)
{
    size_t n = (size_t)w->batch->n_tokens / (4 * (size_t)w->n_threads);
    return RZ_MIN(RZ_MAX(n, 1), RZ_KV_BLOCK);
}

size_t rz_items_kv_store(const struct rz_worker *w, const struct rz_op *op)
{
    (void)op;
    return rz_ceil_div((size_t)w->batch->n_tokens, store_rows(w));
}

/* One head after the other, each for all rows of the item: the tokens of a head of K share cache lines, and the lines
 * of all heads of a block together do not fit in L1. */
void rz_run_kv_store(struct rz_worker *w, const struct rz_op *op, size_t item)
{
    const struct rz_attention *a = op->attention;
    const struct rz_batch *b = w->batch;
    size_t t0 = item * store_rows(w), t1 = RZ_MIN(t0 + store_rows(w), (size_t)b->n_tokens);
    size_t dim = (size_t)a->head_dim_k, dim_v = (size_t)a->head_dim_v, block[RZ_KV_BLOCK];
    int slot[RZ_KV_BLOCK];
    for (size_t t = t0; t < t1; t++) {
        size_t s = rz_sequence_of(b, t);
        int64_t position = (int64_t)b->seq_past[s] + (int64_t)t - b->seq_start[s];
        block[t - t0] = (size_t)rz_blocks_of(b, a, s)[position / RZ_KV_BLOCK];
        slot[t - t0] = (int)(position % RZ_KV_BLOCK);
        if (a->rope) rz_rotate(w, a->rope, t, rz_row(a->q, t), (size_t)a->n_head, dim, rz_row(a->q_rot, t));
    }
    for (size_t h = 0; h < (size_t)a->n_head_kv; h++)
        for (size_t t = t0; t < t1; t++) {
            const float *k = rz_row(a->k_in, t) + h * dim;
            char *k_block = a->k + block[t - t0] * a->k_block_stride + h * a->k_head_stride;
            char *v_block = a->v + block[t - t0] * a->v_block_stride + h * a->v_head_stride;
            if (a->rope) {
                rz_rotate(w, a->rope, t, k, 1, dim, (float *)w->scratch);
                k = (const float *)w->scratch;
            }
            w->kernels->store_k[a->k_type](k, dim, slot[t - t0], k_block);
            if (!a->latent)
                w->kernels->store_v[a->v_type](rz_row(a->v_in, t) + h * dim_v, dim_v, slot[t - t0], v_block);
        }
}

struct tile {
    size_t sequence, t0, t1;  /* rows of the batch, [t0, t1) */
    size_t row0;              /* row of the queries and results that is row t0 of the batch */
    size_t head_kv, head0;    /* the first of its query heads */
    int64_t pos0, key0, key1; /* keys that some query of the tile sees */
    const float *chosen;      /* the key1 keys that its only query sees, if these are not all; or NULL */
};

/* The query heads of a KV head are processed together, or in equal sets if there are too many. */
static size_t head_sets(const struct rz_attention *a)
{
    size_t n_group = (size_t)(a->n_head / a->n_head_kv), sets = rz_ceil_div(n_group, RZ_ATTEND_MAX_QUERIES);
    while (n_group % sets) sets++;
    return sets;
}

/* Number of heads of a set. */
static size_t set_heads(const struct rz_attention *a) { return (size_t)(a->n_head / a->n_head_kv) / head_sets(a); }

/* Queries that attend to chosen keys see different ones. */
static size_t tile_tokens(const struct rz_attention *a)
{
    return a->chosen.data ? 1 : RZ_ATTEND_MAX_QUERIES / set_heads(a);
}

/* Number of sets of heads of all KV heads. */
static size_t all_sets(const struct rz_attention *a) { return (size_t)a->n_head_kv * head_sets(a); }

static size_t tiles_of(const struct rz_batch *b, const struct rz_attention *a, size_t s)
{
    return rz_ceil_div((size_t)(b->seq_start[s + 1] - b->seq_start[s]), tile_tokens(a)) * all_sets(a);
}

/* Whether the queries are only some of the step's rows. */
static int is_picked(const struct rz_batch *b, const struct rz_attention *a)
{
    return a->m_rows && b->n_outputs != b->n_tokens;
}

static size_t n_tiles(const struct rz_batch *b, const struct rz_attention *a)
{
    size_t n = 0;
    if (is_picked(b, a)) return (size_t)b->n_outputs * all_sets(a);
    for (size_t s = 0; s < (size_t)b->n_seqs; s++) n += tiles_of(b, a, s);
    return n;
}

/* The bidirectional spans that an op regards. */
static const struct rz_reach *reach_of(const struct rz_batch *b, const struct rz_attention *a)
{
    return a->causal && a->spans ? b->reach : NULL;
}

/* The first key that a tile's first query sees through its window, its chunk or its span. */
static int64_t first_key(const struct rz_batch *b, const struct rz_attention *a, const struct tile *tile)
{
    int64_t key = a->chunked ? tile->pos0 - tile->pos0 % a->window : tile->pos0 + 1 - a->window;
    if (!a->causal) key = tile->pos0 - a->window / 2;
    if (reach_of(b, a)) key = RZ_MIN(key, tile->pos0 - b->reach[tile->t0].before);
    return RZ_MAX(key, 0);
}

/* Reduces the keys of a tile to the chosen ones, at least one, unless all are chosen. */
static void keep_chosen(const struct rz_attention *a, struct tile *tile)
{
    const float *chosen = rz_row(a->chosen, tile->row0);
    int64_t n = 1;
    while (n < (int64_t)a->n_chosen && chosen[n] >= 0) n++;
    if (n == tile->key1) return;
    tile->key1 = n;
    tile->chosen = chosen;
}

/* The rows and heads of a tile. */
static struct tile find_rows(const struct rz_batch *b, const struct rz_attention *a, size_t item)
{
    struct tile tile = {0};
    if (is_picked(b, a)) {
        tile.row0 = item / all_sets(a);
        tile.t0 = (size_t)b->outputs[tile.row0];
        tile.t1 = tile.t0 + 1;
        tile.sequence = rz_sequence_of(b, tile.t0);
    } else {
        for (; item >= tiles_of(b, a, tile.sequence); tile.sequence++) item -= tiles_of(b, a, tile.sequence);
        tile.t0 = tile.row0 = (size_t)b->seq_start[tile.sequence] + item / all_sets(a) * tile_tokens(a);
        tile.t1 = RZ_MIN(tile.t0 + tile_tokens(a), (size_t)b->seq_start[tile.sequence + 1]);
    }
    tile.head_kv = item % all_sets(a) / head_sets(a);
    tile.head0 = item % all_sets(a) * set_heads(a);
    return tile;
}

static struct tile find_tile(const struct rz_batch *b, const struct rz_attention *a, size_t item)
{
    struct tile tile = find_rows(b, a, item);
    size_t first = (size_t)b->seq_start[tile.sequence], end = (size_t)b->seq_start[tile.sequence + 1];
    int64_t past = b->seq_past[tile.sequence];
    tile.pos0 = past + (int64_t)(tile.t0 - first);
    tile.key1 = a->cross ? b->encoder_lengths[tile.sequence] : past + (int64_t)((a->causal ? tile.t1 : end) - first);
    if (reach_of(b, a)) tile.key1 += b->reach[tile.t1 - 1].after;
    if (a->window) tile.key0 = first_key(b, a, &tile);
    if (a->window && !a->causal)
        tile.key1 = RZ_MIN(tile.key1, tile.pos0 + (int64_t)(tile.t1 - tile.t0) + a->window / 2);
    tile.key0 -= tile.key0 % RZ_ATTEND_SPLIT;
    if (a->chosen.data) keep_chosen(a, &tile);
    return tile;
}

static size_t tile_splits(const struct tile *tile)
{
    return rz_ceil_div((size_t)(tile->key1 - tile->key0), RZ_ATTEND_SPLIT);
}

/* Copies one lane of `size` bytes for each of the rows of a block. */
static inline void copy_lane(char *to, const char *from, size_t n_row, size_t size)
{
    for (size_t i = 0; i < n_row * RZ_KV_BLOCK; i += RZ_KV_BLOCK) memcpy(to + i * size, from + i * size, size);
}

/* Copies the K of one key into slot `to_slot` of a packed block. */
static void copy_key(const struct rz_attention *a, const char *block, size_t slot, char *to, size_t to_slot)
{
    size_t dim = (size_t)a->head_dim_k, n_bytes = rz_kv_element_bytes(a->k_type, dim) / RZ_KV_BLOCK;
#define RZ_CASE(NAME, lower, group, bytes, lane, scale, transforms_k, transforms_v)                                    \
    case RZ_KV_##NAME:                                                                                                 \
        copy_lane(to + lane * to_slot, block + lane * slot, n_bytes / lane, lane);                                     \
        break;
    switch (a->k_type) {
        RZ_KV_TYPES(RZ_CASE)
    }
#undef RZ_CASE
    if (rz_kv_types[a->k_type].scale) kv_scales(to, dim, a->k_type)[to_slot] = kv_scales(block, dim, a->k_type)[slot];
}

/* Attention to chosen keys is attention to a sequence of these keys alone: the K of a split's keys are copied to the
 * blocks 0, 1, 2 ... of the worker. Ids out of range, which only the caller of a step can pass in, count as 0. */
static void attend_to_packed(struct rz_worker *w, const struct rz_attention *a, const struct tile *tile,
                             struct rz_attend_args *args)
{
    static const int32_t packed[RZ_ATTEND_SPLIT / RZ_KV_BLOCK] = {0,  1,  2,  3,  4,  5,  6,  7,  8,  9,  10,
                                                                  11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21,
                                                                  22, 23, 24, 25, 26, 27, 28, 29, 30, 31};
    size_t n_bytes = rz_kv_bytes(a->k_type, (size_t)a->head_dim_k);
    char *blocks = w->scratch + rz_attend_bytes((size_t)a->head_dim_v);
    int64_t n = RZ_MIN(tile->key1 - args->key0, RZ_ATTEND_SPLIT), seen = rz_keys_seen(w->batch, tile->t0);
    for (int64_t i = 0; i < n; i++) {
        float id = tile->chosen[args->key0 + i];
        size_t key = id >= 0 && id < (float)seen ? (size_t)id : 0, to = (size_t)i;
        const char *block = args->k + (size_t)args->block_table[key / RZ_KV_BLOCK] * args->k_block_stride;
        copy_key(a, block, key % RZ_KV_BLOCK, blocks + to / RZ_KV_BLOCK * n_bytes, to % RZ_KV_BLOCK);
    }
    args->k = args->v = blocks;
    args->k_block_stride = args->v_block_stride = n_bytes;
    args->block_table = packed;
    args->key0 = 0, args->n_keys = n;
    args->causal = 0;
}

/* One split of a tile into m, l and acc. */
static void attend_split(struct rz_worker *w, const struct rz_attention *a, const struct tile *tile, size_t split,
                         float *acc, float *m, float *l)
{
    const struct rz_batch *b = w->batch;
    struct rz_rows q = a->rope ? a->q_rot : a->q;
    struct rz_attend_args args = {
        .q = rz_row(q, tile->row0) + tile->head0 * (size_t)a->head_dim_k,
        .q_stride = q.ld,
        .n_tokens = (int)(tile->t1 - tile->t0),
        .n_group = (int)set_heads(a),
        .head_dim_k = a->head_dim_k,
        .head_dim_v = a->head_dim_v,
        .pos0 = tile->pos0,
        .n_keys = tile->key1,
        .key0 = tile->key0 + (int64_t)split * RZ_ATTEND_SPLIT,
        .window = a->window,
        .causal = a->causal,
        .chunked = a->chunked,
        .skip = a->skip,
        .reach = reach_of(b, a) ? b->reach + tile->t0 : NULL,
        .scale = a->scale,
        .softcap = a->softcap,
        .bias = a->bias ? a->bias + tile->head0 * a->bias_stride : NULL,
        .bias_stride = a->bias_stride,
        .k_type = a->k_type,
        .v_type = a->v_type,
        .latent = a->latent,
        .k = a->k + tile->head_kv * a->k_head_stride,
        .v = a->v + tile->head_kv * a->v_head_stride,
        .k_block_stride = a->k_block_stride,
        .v_block_stride = a->v_block_stride,
        .block_table = rz_blocks_of(b, a, tile->sequence),
        .m = m,
        .l = l,
        .acc = acc,
        .scratch = w->scratch,
    };
    if (tile->chosen) attend_to_packed(w, a, tile, &args);
    w->kernels->attend(&args);
}

/* out = H out / w: a sum of values that are cached as H v for each w elements, of their own or as part of K (MLA). */
static void undo_hadamard(const struct rz_attention *a, float *out)
{
    size_t dim = (size_t)a->head_dim_v, width = hadamard_width((size_t)(a->latent ? a->head_dim_k : a->head_dim_v));
    if (!(a->latent ? rz_kv_types[a->k_type].transforms_k : rz_kv_types[a->v_type].transforms_v)) return;
    for (size_t d = 0; d < dim; d += width) hadamard(out + d, width);
    for (size_t d = 0; d < dim; d++) out[d] *= 1 / (float)width;
}

/* out = acc / l for the queries of a tile. A sink is treated as one more split, with l = 1 and acc = 0. */
static void attend_finish(const struct rz_attention *a, const struct tile *tile, const float *acc, const float *m,
                          const float *l)
{
    size_t n_group = set_heads(a), dim = (size_t)a->head_dim_v, query = 0;
    for (size_t row = tile->row0; row < tile->row0 + tile->t1 - tile->t0; row++)
        for (size_t g = 0; g < n_group; g++, query++) {
            size_t head = tile->head0 + g;
            float *out = rz_row(a->out, row) + head * dim, shrink = 1, sum = l[query];
            if (a->sinks) {
                float sink = a->sinks[head], max = m[query] > sink ? m[query] : sink;
                shrink = exp_f32(m[query] - max);
                sum = fmaf(sum, shrink, exp_f32(sink - max));
            }
            for (size_t d = 0; d < dim; d++) out[d] = acc[query * dim + d] * shrink / sum;
            undo_hadamard(a, out);
        }
}

static void merge_splits(struct rz_worker *w, const struct rz_attention *a, const struct tile *tile, float *acc,
                         float *m, float *l, const float *accp, const float *mp, const float *lp)
{
    size_t n_query = (tile->t1 - tile->t0) * set_heads(a), dim = (size_t)a->head_dim_v;
    for (size_t i = 0; i < n_query; i++)
        w->kernels->attend_merge(m + i, l + i, acc + i * dim, mp[i], lp[i], accp + i * dim, dim);
}

/* A whole tile on one worker, split after split. */
static void attend_tile(struct rz_worker *w, const struct rz_attention *a, const struct tile *tile)
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
    attend_finish(a, tile, acc, m, l);
}

/* If there are too few tiles for the workers (few queries, many keys), each tile is divided into this many runs of
 * consecutive splits, which suits the prefetcher. Otherwise, and if the partial results do not fit, runs is 1; splits
 * is the greatest number of splits of a tile. */
struct cut {
    size_t runs, splits;
};

static struct cut cut_tiles(const struct rz_worker *w, const struct rz_attention *a)
{
    const struct rz_batch *b = w->batch;
    size_t n = n_tiles(b, a), wanted = 4 * (size_t)w->n_threads;
    struct cut cut = {1, 1};
    int one_each = is_picked(b, a) || b->n_tokens == b->n_seqs; /* a tile has one token */
    if (n == 0 || w->n_threads == 1 || !one_each || n >= wanted) return cut;
    for (size_t item = 0; item < n; item += all_sets(a)) {
        struct tile tile = find_tile(b, a, item);
        cut.splits = RZ_MAX(cut.splits, tile_splits(&tile));
    }
    if (n * cut.splits <= a->n_partial) cut.runs = RZ_MIN(cut.splits, rz_ceil_div(wanted, n));
    return cut;
}

/* Partial result of a split: acc, then m, then l of the queries of a set. */
static float *partial(const struct rz_attention *a, size_t index)
{
    return a->partial + index * set_heads(a) * (size_t)(a->head_dim_v + 2);
}

size_t rz_items_attend(const struct rz_worker *w, const struct rz_op *op)
{
    return n_tiles(w->batch, op->attention) * cut_tiles(w, op->attention).runs;
}

void rz_run_attend(struct rz_worker *w, const struct rz_op *op, size_t item)
{
    const struct rz_attention *a = op->attention;
    struct cut cut = cut_tiles(w, a);
    size_t n_group = set_heads(a), index = item / cut.runs, run = item % cut.runs;
    struct tile tile = find_tile(w->batch, a, index);
    if (cut.runs == 1) {
        attend_tile(w, a, &tile);
        return;
    }
    size_t n = tile_splits(&tile);
    for (size_t split = run * n / cut.runs; split < (run + 1) * n / cut.runs; split++) {
        float *acc = partial(a, index * cut.splits + split), *m = acc + n_group * (size_t)a->head_dim_v;
        attend_split(w, a, &tile, split, acc, m, m + n_group);
    }
}

size_t rz_items_merge(const struct rz_worker *w, const struct rz_op *op)
{
    return cut_tiles(w, op->attention).runs > 1 ? n_tiles(w->batch, op->attention) : 0;
}

void rz_run_merge(struct rz_worker *w, const struct rz_op *op, size_t item)
{
    const struct rz_attention *a = op->attention;
    size_t splits = cut_tiles(w, a).splits, n_group = set_heads(a);
    struct tile tile = find_tile(w->batch, a, item);
    float *acc = partial(a, item * splits), *m = acc + n_group * (size_t)a->head_dim_v;
    for (size_t split = 1; split < tile_splits(&tile); split++) {
        const float *accp = partial(a, item * splits + split), *mp = accp + n_group * (size_t)a->head_dim_v;
        merge_splits(w, a, &tile, acc, m, m + n_group, accp, mp, mp + n_group);
    }
    attend_finish(a, &tile, acc, m, m + n_group);
}
