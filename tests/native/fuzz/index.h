/* Fuzzing of the scores of an indexer, over the caches of attention.h. */
#ifndef REALIZAR_FUZZ_INDEX_H
#define REALIZAR_FUZZ_INDEX_H

#include "attention.h"

static struct rz_index_args x;

static void check_score_in_float64(int64_t key)
{
    const char *block = x.k + (size_t)x.block_table[key / RZ_KV_BLOCK] * x.k_block_stride;
    int slot = (int)(key % RZ_KV_BLOCK);
    double score = 0, size = 0;
    for (size_t h = 0; h < x.n_head; h++) {
        double s = 0, most = 0;
        for (size_t d = 0; d < x.head_dim; d++) {
            double k = k_load(block, d, slot, x.head_dim, x.k_type);
            s += x.q[h * x.head_dim + d] * k;
            most += fabs(x.q[h * x.head_dim + d] * k);
        }
        score += x.weights[h] * fmax(s, 0);
        size += fabsf(x.weights[h]) * most;
    }
    check_near(x.scores[key], score, 1e-5 * size, "score", (size_t)key);
}

static void fuzz_index_scores(void)
{
    static float expected[MAX_BLOCKS * RZ_KV_BLOCK];
    int wild = one_in(3) ? between(1, 3) : 0, head_dim = between(1, MAX_DIM);
    x.n_head = (size_t)between(1, 20), x.head_dim = (size_t)head_dim;
    a.n_keys = between(1, one_in(12) ? MAX_BLOCKS * RZ_KV_BLOCK : 150);
    size_t n_blocks = (size_t)(a.n_keys + RZ_KV_BLOCK - 1) / RZ_KV_BLOCK;
    x.first = (size_t)between(0, (int)n_blocks - 1), x.end = (size_t)between((int)x.first, (int)n_blocks);
    random_block_table();
    x.k_type = between(0, RZ_N_KV - 1);
    x.k = random_cache(&k_room, 1, x.k_type, head_dim, wild, &x.k_block_stride);
    x.block_table = a.block_table;
    float *q = place(&q_room, x.n_head * x.head_dim * sizeof *q, sizeof *q);
    float *weights = place(&v_room, x.n_head * sizeof *weights, sizeof *weights);
    random_floats(q, x.n_head * x.head_dim, wild);
    random_floats(weights, x.n_head, wild);
    x.q = q, x.weights = weights, x.scratch = place(&attend_scratch_room, RZ_INDEX_SCRATCH, 64);
    for (size_t level = 0; level < n_levels; level++) {
        TRY("%s index_scores K %s, %zu heads of %d, blocks %zu to %zu of %d keys, wild %d", levels[level].name,
            rz_kv_types[x.k_type].name, x.n_head, head_dim, x.first, x.end, (int)a.n_keys, wild);
        size_t from = x.first * RZ_KV_BLOCK, n = (x.end - x.first) * RZ_KV_BLOCK;
        x.scores = place_output(&acc_room, (from + n) * sizeof *x.scores, sizeof *x.scores);
        levels[level].index_scores(&x);
        check_margins(&acc_room, "scores");
        check_margins(&attend_scratch_room, "scratch");
        if (level == 0) {
            memcpy(expected + from, x.scores + from, n * sizeof *expected);
            for (int64_t key = (int64_t)from; key < (int64_t)(from + n) && key < a.n_keys && !wild; key++)
                check_score_in_float64(key);
        }
        check_floats(x.scores + from, expected + from, n, "scores");
    }
}

#endif
