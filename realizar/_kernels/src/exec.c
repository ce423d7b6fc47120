/* Executes a bound plan: for each op, or several that are joined, every worker takes items until none is left, then waits
 * for the others. */
#include "realizar/worker.h"

static const struct rz_op_run OPS[RZ_N_OPS] = {
    [RZ_OP_EMBED] = {rz_items_rows, rz_run_embed},
    [RZ_OP_EMBED_IDS] = {rz_items_rows, rz_run_embed_ids},
    [RZ_OP_EMBED_POSITIONS] = {rz_items_rows, rz_run_embed_positions},
    [RZ_OP_EMBED_TYPES] = {rz_items_rows, rz_run_embed_types},
    [RZ_OP_GATHER_ROWS] = {rz_items_rows, rz_run_gather_rows},
    [RZ_OP_POOL_FIRST] = {rz_items_rows, rz_run_pool_first},
    [RZ_OP_POOL_MEAN] = {rz_items_rows, rz_run_pool_mean},
    [RZ_OP_RMS_NORM] = {rz_items_rows, rz_run_rowwise},
    [RZ_OP_LAYER_NORM] = {rz_items_rows, rz_run_rowwise},
    [RZ_OP_ADD] = {rz_items_rows, rz_run_rowwise},
    [RZ_OP_MUL] = {rz_items_rows, rz_run_rowwise},
    [RZ_OP_SCALE] = {rz_items_rows, rz_run_rowwise},
    [RZ_OP_SCALE_ROWS] = {rz_items_rows, rz_run_rowwise},
    [RZ_OP_CLAMP] = {rz_items_rows, rz_run_rowwise},
    [RZ_OP_SOFTCAP] = {rz_items_rows, rz_run_rowwise},
    [RZ_OP_HADAMARD] = {rz_items_rows, rz_run_rowwise},
    [RZ_OP_SILU] = {rz_items_rows, rz_run_rowwise},
    [RZ_OP_GELU] = {rz_items_rows, rz_run_rowwise},
    [RZ_OP_GELU_ERF] = {rz_items_rows, rz_run_rowwise},
    [RZ_OP_SIGMOID] = {rz_items_rows, rz_run_rowwise},
    [RZ_OP_RELU] = {rz_items_rows, rz_run_rowwise},
    [RZ_OP_SOFTPLUS] = {rz_items_rows, rz_run_rowwise},
    [RZ_OP_ELU] = {rz_items_rows, rz_run_rowwise},
    [RZ_OP_SOFTMAX] = {rz_items_rows, rz_run_rowwise},
    [RZ_OP_SWIGLU] = {rz_items_rows, rz_run_rowwise},
    [RZ_OP_GEGLU] = {rz_items_rows, rz_run_rowwise},
    [RZ_OP_GEGLU_ERF] = {rz_items_rows, rz_run_rowwise},
    [RZ_OP_QUANTIZE] = {rz_items_rows, rz_run_quantize},
    [RZ_OP_LINEAR] = {rz_items_linear, rz_run_linear},
    [RZ_OP_ROPE_TABLE] = {rz_items_rows, rz_run_rope_table},
    [RZ_OP_ROPE] = {rz_items_rows, rz_run_rope},
    [RZ_OP_KV_STORE] = {rz_items_kv_store, rz_run_kv_store},
    [RZ_OP_ATTEND] = {rz_items_attend, rz_run_attend},
    [RZ_OP_MERGE] = {rz_items_merge, rz_run_merge},
    [RZ_OP_INDEX_SCORES] = {rz_items_index_scores, rz_run_index_scores},
    [RZ_OP_CHOOSE_KEYS] = {rz_items_rows, rz_run_choose_keys},
    [RZ_OP_CHOOSE_EXPERTS] = {rz_items_rows, rz_run_choose_experts},
    [RZ_OP_WEIGH_EXPERTS] = {rz_items_rows, rz_run_weigh_experts},
    [RZ_OP_EXPERTS_GROUP] = {rz_items_experts_group, rz_run_experts_group},
    [RZ_OP_EXPERTS_GATHER] = {rz_items_experts_gather, rz_run_experts_gather},
    [RZ_OP_EXPERTS_UP] = {rz_items_experts_up, rz_run_experts_up},
    [RZ_OP_EXPERTS_UPDATE_UP] = {rz_items_expert_pairs, rz_run_experts_update_up},
    [RZ_OP_EXPERTS_QUANTIZE] = {rz_items_expert_pairs, rz_run_experts_quantize},
    [RZ_OP_EXPERTS_DOWN] = {rz_items_experts_down, rz_run_experts_down},
    [RZ_OP_EXPERTS_UPDATE_DOWN] = {rz_items_expert_pairs, rz_run_experts_update_down},
    [RZ_OP_EXPERTS_SUM] = {rz_items_rows, rz_run_experts_sum},
    [RZ_OP_CAUSAL_CONV1D] = {rz_items_causal_conv1d, rz_run_causal_conv1d},
    [RZ_OP_TOKEN_SHIFT] = {rz_items_causal_conv1d, rz_run_token_shift},
    [RZ_OP_SCAN] = {rz_items_scan, rz_run_scan},
    [RZ_OP_DECAY] = {rz_items_rows, rz_run_rowwise},
    [RZ_OP_DELTA_RULE] = {rz_items_delta_rule, rz_run_delta_rule},
    [RZ_OP_COPY_HEADS] = {rz_items_rows, rz_run_copy_heads},
    [RZ_OP_QUANTIZE_HEADS] = {rz_items_rows, rz_run_quantize_heads},
    [RZ_OP_PER_HEAD_LINEAR] = {rz_items_per_head_linear, rz_run_per_head_linear},
    [RZ_OP_LOW_RANK_DOWN] = {rz_items_low_rank_down, rz_run_low_rank_down},
    [RZ_OP_LOW_RANK_UP] = {rz_items_low_rank_up, rz_run_low_rank_up},
    [RZ_OP_LOW_RANK_EMBED] = {rz_items_rows, rz_run_low_rank_embed},
};

static void walk(void *arg, int index, int n_threads)
{
    struct rz_program *program = arg;
    struct rz_worker w = {
        .batch = program->batch,
        .kernels = program->kernels,
        .scratch = program->scratch + (size_t)index * program->scratch_stride,
        .n_threads = n_threads,
        .n_planes = program->n_planes,
    };
    w.sums = (float *)(w.scratch + program->scratch_stride - RZ_SUMS_BYTES);
    const struct rz_op *op = program->op, *stop = op + program->n_op;
    for (const struct rz_op *end; op < stop; op = end) {
        for (end = op + 1; end < stop && end->joined;) end++;
        size_t n = OPS[op->code].items(&w, op), item;
        if (n == 0) continue;
        atomic_size_t *next = &program->next[op - program->op].item;
        rz_forget_panels(w.scratch);
        while ((item = atomic_fetch_add_explicit(next, 1, memory_order_relaxed)) < n)
            for (const struct rz_op *at = op; at < end; at++) OPS[at->code].run(&w, at, item);
        if (n_threads > 1) rz_pool_barrier(program->pool);
    }
}

int rz_is_rowwise(const struct rz_op *op)
{
    switch (op->code) {
    case RZ_OP_GATHER_ROWS:
    case RZ_OP_POOL_FIRST:
    case RZ_OP_POOL_MEAN:
    case RZ_OP_EXPERTS_SUM: /* reads the rows of pairs */
        return 0;
    default:
        return OPS[op->code].items == rz_items_rows;
    }
}

size_t rz_scratch_bytes(size_t k, size_t n_row_floats, size_t head_dim_v, size_t other)
{
    size_t attend = rz_attend_bytes(head_dim_v);
    size_t rows = 2 * n_row_floats * sizeof(float); /* a row that is not stored, and its residual */
    size_t most = RZ_MAX(RZ_MAX(RZ_MAX(rz_gemm_scratch(k), rows), attend), other);
    return rz_ceil_div(most + RZ_SUMS_BYTES, 4096) * 4096;
}

int rz_program_run(struct rz_program *program, const struct rz_batch *batch)
{
    program->batch = batch;
    for (size_t i = 0; i < program->n_op; i++) atomic_store_explicit(&program->next[i].item, 0, memory_order_relaxed);
    return rz_pool_run(program->pool, walk, program);
}
