/* Fuzzing of attention: stores into cache blocks, one split of keys, the merge of two splits. */
#ifndef REALIZAR_FUZZ_ATTENTION_H
#define REALIZAR_FUZZ_ATTENTION_H

#include "common.h"
#include "realizar/scalar/hadamard.h"
#include "realizar/scalar/kv.h"
#include "realizar/scalar/round_int8.h"

enum { MAX_DIM = 100, MAX_BLOCKS = 80, MAX_QUERIES = 48 };

static struct room q_room, k_room, v_room, table_room, m_room, l_room, acc_room, attend_scratch_room, bias_room,
    reach_room;

/* ---- stores ------------------------------------------------------------------------------------------------------ */

/* The payload of a stored NaN may be any. */
static void check_head(const char *got, const char *want, size_t head_dim, int type)
{
    size_t n = RZ_KV_BLOCK * head_dim, bytes = rz_kv_types[type].bytes;
    if (rz_kv_types[type].scale) {
        check_bytes(got, want, rz_kv_element_bytes(type, head_dim), "block");
        check_floats(kv_scales(got, head_dim, type), kv_scales(want, head_dim, type), RZ_KV_BLOCK, "scales");
        return;
    }
    for (size_t i = 0; i < n; i++)
        if (!isnan(kv_load(got, i, 0, head_dim, type)) || !isnan(kv_load(want, i, 0, head_dim, type)))
            check_bytes(got + i * bytes, want + i * bytes, bytes, "block");
}

static void fuzz_store(void)
{
    static char expected[RZ_KV_BLOCK * MAX_DIM * sizeof(float)] __attribute__((aligned(64)));
    int type = between(0, RZ_N_KV - 1), is_k = one_in(2), head_dim = between(1, MAX_DIM),
        slot = between(0, RZ_KV_BLOCK - 1);
    size_t bytes = rz_kv_bytes(type, (size_t)head_dim);
    float *x = place(&q_room, (size_t)head_dim * sizeof *x, sizeof *x);
    random_floats(x, (size_t)head_dim, one_in(2) ? 0 : 20);
    for (size_t level = 0; level < n_levels; level++) {
        TRY("%s store_%c %s, head_dim %d, slot %d", levels[level].name, is_k ? 'k' : 'v', rz_kv_types[type].name,
            head_dim, slot);
        char *block = place_output(&k_room, bytes, sizeof(float));
        (is_k ? levels[level].store_k : levels[level].store_v)[type](x, (size_t)head_dim, slot, block);
        check_margins(&k_room, "block");
        if (level == 0) memcpy(expected, block, bytes);
        check_head(block, expected, (size_t)head_dim, type);
    }
}

/* ---- one split --------------------------------------------------------------------------------------------------- */

static struct rz_attend_args a;

/* Queries, position of the split, visible keys. */
static void random_question(int wild)
{
    a.n_tokens = between(1, one_in(4) ? 12 : 4);
    a.n_group = between(1, 4);
    a.head_dim_k = one_in(2) ? between(1, MAX_DIM) : 16 * between(1, 6);
    a.head_dim_v = one_in(2) ? a.head_dim_k : between(1, MAX_DIM);
    a.n_keys = between(a.n_tokens, one_in(12) ? MAX_BLOCKS * RZ_KV_BLOCK : 100);
    a.key0 = between(0, (int)((a.n_keys - 1) / RZ_ATTEND_SPLIT)) * RZ_ATTEND_SPLIT;
    a.pos0 = a.n_keys - a.n_tokens;
    a.causal = !one_in(4);
    a.window = one_in(3) ? between(1, 100) : 0;
    a.chunked = a.window && one_in(3);
    a.skip = one_in(3) ? between(1, 20) : 0;
    a.scale = 1 / sqrtf((float)a.head_dim_k);
    a.softcap = one_in(3) ? (float)between(1, 40) : 0;
    size_t width = (size_t)(a.n_group * a.head_dim_k);
    a.q_stride = width + (size_t)between(0, 3);
    size_t n_q = (size_t)(a.n_tokens - 1) * a.q_stride + width;
    float *q = place(&q_room, n_q * sizeof *q, sizeof *q);
    random_floats(q, n_q, wild);
    a.q = q;
}

/* Biases for every distance within n_keys tokens, of each head, and the padding that may be read after them. */
static void random_bias(int wild)
{
    a.bias = NULL;
    if (one_in(2)) return;
    a.bias_stride = 2 * (size_t)a.n_keys - 1 + RZ_BIAS_PAD;
    size_t n = (size_t)a.n_group * a.bias_stride;
    float *bias = place(&bias_room, n * sizeof *bias, sizeof *bias);
    random_floats(bias, n, wild);
    a.bias = bias + a.n_keys - 1;
}

/* Bidirectional spans, one after another; some hold one query. */
static void random_spans(void)
{
    a.reach = NULL;
    if (one_in(2)) return;
    struct rz_reach *reach = place(&reach_room, (size_t)a.n_tokens * sizeof *reach, sizeof(int32_t));
    for (int first = 0, end; first < a.n_tokens; first = end) {
        end = between(first + 1, a.n_tokens);
        for (int t = first; t < end; t++) reach[t] = (struct rz_reach){t - first, end - 1 - t};
    }
    a.reach = reach;
}

/* A cache of one or two heads whose blocks lie in any order; slots without a key hold NaNs, which must not be read. */
static const char *random_cache(struct room *room, int is_k, int type, int head_dim, int wild, size_t *block_stride)
{
    static float x[MAX_DIM];
    int n_blocks = (int)((a.n_keys + RZ_KV_BLOCK - 1) / RZ_KV_BLOCK), n_head = between(1, 2),
        head = between(0, n_head - 1);
    size_t bytes = rz_kv_bytes(type, (size_t)head_dim);
    *block_stride = bytes * (size_t)n_head;
    char *cache = place(room, *block_stride * (size_t)n_blocks, sizeof(float));
    memset(cache, 0xff, room->size);
    for (int key = 0; key < a.n_keys; key++) {
        char *block = cache + (size_t)a.block_table[key / RZ_KV_BLOCK] * *block_stride + bytes * (size_t)head;
        random_floats(x, (size_t)head_dim, wild);
        (is_k ? levels[0].store_k : levels[0].store_v)[type](x, (size_t)head_dim, key % RZ_KV_BLOCK, block);
    }
    return cache + bytes * (size_t)head;
}

static void random_block_table(void)
{
    int n_blocks = (int)((a.n_keys + RZ_KV_BLOCK - 1) / RZ_KV_BLOCK);
    int32_t *blocks = place(&table_room, (size_t)n_blocks * sizeof *blocks, sizeof *blocks);
    for (int i = 0; i < n_blocks; i++) {
        int j = between(0, i);
        blocks[i] = blocks[j];
        blocks[j] = i;
    }
    a.block_table = blocks;
}

static int sees(int t, int64_t key)
{
    int64_t position = a.pos0 + t;
    struct rz_reach reach = a.reach ? a.reach[t] : (struct rz_reach){0, 0};
    int in_span = key >= position - reach.before && key <= position + reach.after;
    if (key >= a.n_keys) return 0;
    if (!a.causal) return !a.window || llabs(position - key) <= a.window / 2;
    if (in_span) return 1;
    int64_t first = a.chunked ? position - position % a.window : position - a.window + 1;
    if (key < a.skip && key < position) return 0;
    return key <= position && (!a.window || key >= first);
}

/* Some caches store H k (scalar/hadamard.h), so q is transformed as well; for q4 it is rounded to int8. */
static double score_of(int t, int h, int64_t key)
{
    float q[MAX_DIM];
    const char *block = k_block(&a, key);
    int slot = (int)(key % RZ_KV_BLOCK);
    size_t head_dim = (size_t)a.head_dim_k;
    double s = 0;
    memcpy(q, a.q + (size_t)t * a.q_stride + (size_t)h * head_dim, head_dim * sizeof *q);
    if (rz_kv_types[a.k_type].transforms_k) {
        hadamard(q, head_dim);
        for (size_t d = 0; d < head_dim; d++) q[d] *= 1 / (float)hadamard_width(head_dim);
    }
    if (a.k_type == RZ_KV_Q4) {
        int8_t rounded[MAX_DIM];
        float scale = round_int8(q, head_dim, rounded);
        for (size_t d = 0; d < head_dim; d++) q[d] = scale * rounded[d];
    }
    for (size_t d = 0; d < head_dim; d++) s += (double)q[d] * k_load(block, d, slot, head_dim, a.k_type);
    s *= (double)a.scale;
    s = a.softcap != 0 ? a.softcap * tanh(s / a.softcap) : s;
    return a.bias ? s + a.bias[(int64_t)((size_t)h * a.bias_stride) + key - a.pos0 - t] : s;
}

/* The naive formula over the keys of the split: exp(score) / sum of these, times v; q4 rounds the weights to int16. */
static void check_query_in_float64(int t, int h)
{
    double sum = 0, out[MAX_DIM] = {0}, largest = 0, tolerance = a.v_type == RZ_KV_Q4 ? 1e-3 : 1e-4;
    int i = t * a.n_group + h;
    for (int64_t key = a.key0; key < a.key0 + RZ_ATTEND_SPLIT; key++) {
        if (!sees(t, key)) continue;
        double weight = exp(score_of(t, h, key));
        const char *block = v_block(&a, key);
        int slot = (int)(key % RZ_KV_BLOCK);
        sum += weight;
        for (int d = 0; d < a.head_dim_v; d++) {
            double v = v_load(block, (size_t)d, slot, (size_t)a.head_dim_v, a.v_type);
            out[d] += weight * v;
            largest = fmax(largest, fabs(v));
        }
    }
    if (sum == 0 && (a.l[i] != 0 || a.m[i] != -INFINITY))
        fail("query %d sees no key, but m is %a and l %a", i, a.m[i], a.l[i]);
    for (int d = 0; d < a.head_dim_v && sum > 0; d++)
        check_near(a.acc[i * a.head_dim_v + d] / a.l[i], out[d] / sum, tolerance * largest, "attention", (size_t)d);
    if (sum > 0) check_near(a.m[i] + log(a.l[i]), log(sum), 1e-4 * (1 + fabs(a.m[i])), "m + log(l)", (size_t)i);
}

static void run_attend(const struct rz_kernels *kernels)
{
    size_t n = (size_t)(a.n_tokens * a.n_group);
    a.m = place_output(&m_room, n * sizeof *a.m, sizeof *a.m);
    a.l = place_output(&l_room, n * sizeof *a.l, sizeof *a.l);
    a.acc = place_output(&acc_room, n * (size_t)a.head_dim_v * sizeof *a.acc, sizeof *a.acc);
    kernels->attend(&a);
    check_margins(&m_room, "m");
    check_margins(&l_room, "l");
    check_margins(&acc_room, "acc");
    check_margins(&attend_scratch_room, "scratch");
    for (size_t i = 0; i < n; i++) a.m[i] += 0.0f; /* a maximum of zeros may be -0 or 0, see scalar/attention.h */
}

static void fuzz_attend(void)
{
    static float m[MAX_QUERIES], l[MAX_QUERIES], acc[MAX_QUERIES * MAX_DIM];
    int wild = one_in(3) ? between(1, 3) : 0;
    random_question(wild);
    random_bias(wild);
    random_spans();
    random_block_table();
    a.k_type = between(0, RZ_N_KV - 1), a.v_type = between(0, RZ_N_KV - 1);
    a.k = random_cache(&k_room, 1, a.k_type, a.head_dim_k, wild, &a.k_block_stride);
    a.v = random_cache(&v_room, 0, a.v_type, a.head_dim_v, wild, &a.v_block_stride);
    a.scratch = place(&attend_scratch_room, RZ_ATTEND_SCRATCH, 64);
    size_t n = (size_t)(a.n_tokens * a.n_group), n_acc = n * (size_t)a.head_dim_v;
    for (size_t level = 0; level < n_levels; level++) {
        TRY("%s attend K %s V %s, %d x %d queries, head_dim %d and %d, keys from %d of %d, causal %d, window %d, cap "
            "%g, wild %d",
            levels[level].name, rz_kv_types[a.k_type].name, rz_kv_types[a.v_type].name, a.n_tokens, a.n_group,
            a.head_dim_k, a.head_dim_v, (int)a.key0, (int)a.n_keys, a.causal, a.window, (double)a.softcap, wild);
        run_attend(&levels[level]);
        if (level == 0) {
            memcpy(m, a.m, n * sizeof *m);
            memcpy(l, a.l, n * sizeof *l);
            memcpy(acc, a.acc, n_acc * sizeof *acc);
            for (int i = 0; i < (int)n && !wild; i++) check_query_in_float64(i / a.n_group, i % a.n_group);
        }
        check_floats(a.m, m, n, "m");
        check_floats(a.l, l, n, "l");
        check_floats(a.acc, acc, n_acc, "acc");
    }
}

/* ---- merging ----------------------------------------------------------------------------------------------------- */

/* One partial result: m, l, acc. A wild one may belong to a query that saw no key. */
struct partial {
    float m, l, acc[MAX_DIM];
};

static struct partial random_partial(size_t head_dim, int wild)
{
    struct partial part = {.m = 10 * tame_float(), .l = 1 + fabsf(tame_float())};
    if (wild && one_in(2)) part.m = wild_float(), part.l = wild_float();
    if (wild && one_in(2)) part.m = -INFINITY, part.l = 0;
    random_floats(part.acc, head_dim, wild);
    return part;
}

static void check_merge_in_float64(const struct partial *x, const struct partial *y, const float *acc, float m, float l,
                                   size_t head_dim)
{
    double top = fmax(x->m, y->m), wx = exp(x->m - top), wy = exp(y->m - top), sum = x->l * wx + y->l * wy;
    for (size_t d = 0; d < head_dim; d++) {
        double size = (fabs(x->acc[d]) * wx + fabs(y->acc[d]) * wy) / sum;
        check_near(acc[d] / l, (x->acc[d] * wx + y->acc[d] * wy) / sum, 1e-4 * size + 1e-30, "merged", d);
    }
    check_near(m + log(l), top + log(sum), 1e-4, "m + log(l)", 0);
}

static void fuzz_merge(void)
{
    int wild = one_in(2) ? 5 : 0;
    size_t head_dim = (size_t)between(1, MAX_DIM);
    struct partial first = random_partial(head_dim, wild), last = random_partial(head_dim, wild), expected = first;
    float *later = place(&v_room, head_dim * sizeof *later, sizeof *later);
    memcpy(later, last.acc, head_dim * sizeof *later);
    for (size_t level = 0; level < n_levels; level++) {
        TRY("%s attend_merge, head_dim %zu, %s", levels[level].name, head_dim, wild ? "wild" : "tame");
        struct partial got = first;
        float *acc = place(&acc_room, head_dim * sizeof *acc, sizeof *acc);
        memcpy(acc, first.acc, head_dim * sizeof *acc);
        levels[level].attend_merge(&got.m, &got.l, acc, last.m, last.l, later, head_dim);
        check_margins(&acc_room, "acc");
        memcpy(got.acc, acc, head_dim * sizeof *acc);
        if (level == 0) {
            expected = got;
            if (!wild) check_merge_in_float64(&first, &last, acc, got.m, got.l, head_dim);
        }
        check_floats(&got.m, &expected.m, 1, "m");
        check_floats(&got.l, &expected.l, 1, "l");
        check_floats(acc, expected.acc, head_dim, "acc");
    }
}

#endif
