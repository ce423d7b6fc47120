/* A bound plan: a flat array of ops over fixed buffers, which every worker of the pool executes in order. */
#ifndef REALIZAR_EXEC_H
#define REALIZAR_EXEC_H

#include <stdatomic.h>

#include "realizar/pool.h"
#include "realizar/table.h"

/* The low-rank factors of an adapter for one weight: y += B (scale * A x). A control vector has B alone, of rank 1. An
 * embedding table has a row of A for each token: y += B (scale * A[token]). */
struct rz_factors {
    const char *a; /* [rank] rows of n_in elements, [n_token] rows of rank elements, or NULL */
    const char *b; /* [n_out] rows of rank elements, in tiles (table.h) */
    size_t rank, n_in, n_out;
    size_t a_stride, b_stride; /* bytes from the factors of an expert to those of the next one */
    float scale;               /* alpha / rank; times that of the request */
    int format;                /* RZ_F32 or RZ_F16 */
};

/* The factors of one adapter: those of slot i, which is a weight or a place for control vectors, are factors[i]; b is
 * NULL where it has none. */
struct rz_adapter {
    const struct rz_factors *factors;
    size_t n_slot;
};

/* The adapters of a sequence, applied in this order. */
struct rz_adapter_set {
    size_t n;
    const struct rz_adapter *const *adapter;
    const float *scale;
};

/* The inputs of a step; the arrays are those of runtime/batch.py. */
struct rz_batch {
    int n_tokens, n_seqs, n_outputs, n_groups, n_axes;
    const int32_t *tokens, *positions; /* positions[axis * n_tokens + row] */
    const float *embeddings;
    const int32_t *embedding_of;  /* [n_tokens] row of `embeddings`, -1: the embedding of the token; or NULL */
    const struct rz_reach *reach; /* [n_tokens], or NULL */
    const int32_t *seq_start, *seq_past, *encoder_lengths, *state_slots, *outputs;
    const int32_t *n_drafts, *draft_slots; /* [n_seqs], or NULL */
    const int32_t *const *block_table;     /* [group] -> [n_seqs][table_width[group]] */
    const int32_t *table_width;
    size_t n_set; /* different sets of adapters of the sequences; 0: no sequence has any */
    const struct rz_adapter_set *const *set;
    const int32_t *set_of; /* [n_seqs] index into `set`, -1: none */
};

enum rz_op_code {
    RZ_OP_EMBED,
    RZ_OP_EMBED_IDS,
    RZ_OP_EMBED_POSITIONS,
    RZ_OP_EMBED_TYPES,
    RZ_OP_GATHER_ROWS,
    RZ_OP_POOL_FIRST,
    RZ_OP_POOL_MEAN,
    RZ_OP_RMS_NORM,
    RZ_OP_LAYER_NORM,
    RZ_OP_ADD,
    RZ_OP_MUL,
    RZ_OP_SCALE,
    RZ_OP_SCALE_ROWS,
    RZ_OP_CLAMP,
    RZ_OP_SOFTCAP,
    RZ_OP_HADAMARD,
    RZ_OP_SILU,
    RZ_OP_GELU,
    RZ_OP_GELU_ERF,
    RZ_OP_SIGMOID,
    RZ_OP_RELU,
    RZ_OP_SOFTPLUS,
    RZ_OP_ELU,
    RZ_OP_SOFTMAX,
    RZ_OP_SWIGLU,
    RZ_OP_GEGLU,
    RZ_OP_GEGLU_ERF,
    RZ_OP_QUANTIZE,
    RZ_OP_LINEAR,
    RZ_OP_ROPE_TABLE,
    RZ_OP_ROPE,
    RZ_OP_KV_STORE,
    RZ_OP_ATTEND,
    RZ_OP_MERGE,
    RZ_OP_INDEX_SCORES,
    RZ_OP_CHOOSE_KEYS,
    RZ_OP_CAUSAL_CONV1D,
    RZ_OP_TOKEN_SHIFT,
    RZ_OP_CHOOSE_EXPERTS,
    RZ_OP_WEIGH_EXPERTS,
    RZ_OP_EXPERTS_GROUP,
    RZ_OP_EXPERTS_GATHER,
    RZ_OP_EXPERTS_UP,
    RZ_OP_EXPERTS_UPDATE_UP,
    RZ_OP_EXPERTS_QUANTIZE,
    RZ_OP_EXPERTS_DOWN,
    RZ_OP_EXPERTS_UPDATE_DOWN,
    RZ_OP_EXPERTS_SUM,
    RZ_OP_SCAN,
    RZ_OP_DECAY,
    RZ_OP_DELTA_RULE,
    RZ_OP_COPY_HEADS,
    RZ_OP_QUANTIZE_HEADS,
    RZ_OP_PER_HEAD_LINEAR,
    RZ_OP_LOW_RANK_DOWN,
    RZ_OP_LOW_RANK_UP,
    RZ_OP_LOW_RANK_EMBED,
    RZ_N_OPS
};

/* Rows of floats: row t starts at data + t * ld. */
struct rz_rows {
    float *data;
    size_t ld;
};

/* One weight of a linear op, with the form of the input that its format requires. */
struct rz_weight {
    rz_matmul_fn *gemv, *gemm; /* for fewer than GEMM_MIN_TOKENS tokens, and for more */
    rz_tokens_fn *gemm_tokens; /* best number of tokens for a gemm call; NULL: rz_gemm_tokens */
    const char *data;
    size_t stride, n_row;
    const char *x;
    size_t x_stride;
    int n_planes; /* rows of x per token: int16 activations have two quantized rows, half a stride apart; else 1 */
    const float *scale; /* a number by which the products are multiplied before the bias is added, or NULL */
    const float *bias;  /* or NULL */
    struct rz_rows y;
};

struct rz_rope {
    const float *inv_freq;
    const int32_t *axes; /* [half] axis of the positions by which each frequency turns; NULL: the first */
    float mscale;
    int half, neox;
    struct rz_rows table; /* per token: half cosines, then half sines */
};

struct rz_attention {
    int group, k_type, v_type, n_head, n_head_kv, head_dim_k, head_dim_v, window, causal, chunked, skip;
    int m_rows; /* 1: queries and results have one row per requested output; nothing is stored */
    int spans;  /* 1: the rows of a bidirectional span see each other */
    int cross;  /* 1: cross-attention, to the keys of the sequence's encoder input */
    int latent; /* 1: V is part of K and not stored separately */
    float scale, softcap;
    const float *bias; /* bias of head 0 at distance 0 between key and query, or NULL; see struct rz_attend_args */
    size_t bias_stride;
    const int32_t *step_blocks; /* without a group: 0, 1, 2 ..., for blocks that hold only the K and V of this step */
    const struct rz_rope *rope; /* or NULL */
    char *k, *v;
    size_t k_block_stride, v_block_stride, k_head_stride, v_head_stride; /* bytes */
    struct rz_rows q, k_in, v_in, q_rot, out;
    const float *sinks; /* [n_head] scores of a key without a value, or NULL */
    float
        *partial; /* n_partial partial results of n_group * (head_dim_v + 2) floats, for splits computed in parallel */
    size_t n_partial;
    struct rz_rows chosen; /* n_chosen keys to which a query attends, the last ones -1 if it sees fewer; or NULL */
    size_t n_chosen;
};

/* An indexer; its queries and the cache of its keys are in a struct rz_attention. */
struct rz_index {
    size_t n_keys;
    struct rz_rows weights;
    struct rz_rows scores; /* of the keys, for steps of at most n_row tokens */
    size_t n_row;
};

enum { RZ_GATING_SOFTMAX, RZ_GATING_SIGMOID, RZ_GATING_SOFTMAX_CHOSEN };

struct rz_route {
    int gating, n_used, n_group, n_group_used, n_group_best, normalize;
};

/* The weights of all experts, one after the other, and so their biases and scales. weight.n_row is that of one expert. y
 * has a row for each pair of a token and one of its experts, in the order of the experts, and so has the input `pairs`. */
struct rz_expert_weight {
    struct rz_weight weight; /* x: rows of tokens, or NULL */
    size_t expert_stride;    /* bytes from an expert's rows to the next one's */
    char *pairs;
    size_t input_bytes; /* of a row of inputs, at most x_stride */
};

enum { RZ_SWIGLU, RZ_GEGLU, RZ_SWIGLU_OAI, RZ_REGLU, RZ_RELU2, RZ_GELU_ERF };

struct rz_experts {
    int n_expert, n_used, activation;
    float limit;    /* of SwiGLU's two factors: each is kept within it; 0: none */
    int down_block; /* activation block of the quantized rows that down reads; 0: it reads floats */
    struct rz_rows ids, weights;
    int n_up;      /* 2: gate, then up; 1: up alone */
    int is_linear; /* 1: EXPERTS_UP does not activate; EXPERTS_UPDATE_UP does, after the updates */
    struct rz_expert_weight up[2], down;
    /* the pairs of the running step */
    int32_t *n_active, *active; /* the experts that have pairs */
    int32_t *first;             /* [n_expert + 1]: index of the first pair of an expert */
    int32_t *token;             /* token of each pair */
    int32_t *place;             /* [token][rank] -> pair */
};

struct rz_scan {
    rz_scan_fn *run;
    size_t n_head, head_dim, n_state, n_group;
    size_t unit; /* heads that are assigned to one worker together */
    const float *a, *d, *dt_bias;
    struct rz_rows dt, b, c;
};

struct rz_delta {
    size_t n_head, n_head_k, head_dim_k, head_dim_v;
    int by_channel, tiled;
    struct rz_rows k, v, decay, beta, a, b; /* beta, or a and b; the data of the others are NULL */
};

/* Updates of products of one input by adapters: x -> A x, then y += B (scale * A x) in place. */
struct rz_update {
    size_t slot, n_row;
    struct rz_rows y;
};

struct rz_updates {
    size_t n;
    struct rz_update *update;
    size_t max_rank;   /* of all adapters of a sequence together, for one product */
    struct rz_rows ax; /* n * max_rank floats: scale * A x; no data for control vectors; max_rank for each pair of a
                        * token and one of its experts */
};

struct rz_op {
    int code;
    int m_rows;   /* 1: one row per requested output; 0: one per token */
    size_t n;     /* elements of a row, or of one of its groups */
    int n_repeat; /* groups of a row (norms over heads) */
    struct rz_rows x, x2, y;
    size_t x_step, y_step; /* floats from one head to the next (copies) */
    float scalar;          /* eps, factor or cap; factor of a token's embedding */
    const float *w, *b;
    size_t w_step;        /* offset from the weights of one group to those of the next: 0 or n */
    char *act32, *act256; /* quantized rows of y, written along with it, or NULL */
    size_t act32_stride, act256_stride;
    struct rz_weight *weight;
    int n_weight, embed_format;
    const struct rz_rope *rope;
    const struct rz_attention *attention;
    const struct rz_index *index;
    const struct rz_route *route;
    const struct rz_experts *experts;
    const struct rz_scan *scan;
    const struct rz_delta *delta;
    const struct rz_updates *updates;
    char *state; /* state_stride bytes a slot */
    size_t n_tap, state_stride;
    int silu;     /* 1: silu of the convolution's result */
    int by_token; /* 1: the rows of an embedding table are replaced by the step's embeddings */
    int joined; /* 1: a worker runs it on a row directly after the op before it, and waits for the others after the last
                 * of them */
};

struct rz_program {
    const struct rz_kernels *kernels;
    struct rz_op *op;
    size_t n_op;
    int n_planes;  /* quantized rows per row of activations: 1 for int8, 2 for int16 */
    char *scratch; /* scratch_stride bytes for each worker, RZ_SUMS_BYTES of them for the sums of planes */
    size_t scratch_stride;
    rz_pool *pool;
    /* the running step */
    const struct rz_batch *batch;
    struct rz_counter *next; /* one per op */
};

/* Next item of an op, alone on its cache line. */
struct rz_counter {
    _Alignas(64) atomic_size_t item;
};

/* Partial products (one per plane) of a range of weight rows with some tokens, before they are added: of RZ_TILE_ROWS
 * rows for the largest number of tokens of a product. */
enum { RZ_SUMS_BYTES = 960 * RZ_TILE_ROWS * sizeof(float) };

/* Bytes of scratch that one worker needs for weights of up to k columns, values of up to head_dim_v, and other ops. */
size_t rz_scratch_bytes(size_t k, size_t n_row_floats, size_t head_dim_v, size_t other);

/* Bytes of scratch for attention: that of a kernel, and two partial results. */
static inline size_t rz_attend_bytes(size_t head_dim_v)
{
    return RZ_ATTEND_SCRATCH + RZ_ATTEND_MAX_QUERIES * (2 * head_dim_v + 4) * sizeof(float);
}

/* The same for attention to chosen keys, with the K of a split after that. */
static inline size_t rz_chosen_bytes(int k_type, size_t head_dim_k, size_t head_dim_v)
{
    return rz_attend_bytes(head_dim_v) + RZ_ATTEND_SPLIT / RZ_KV_BLOCK * rz_kv_bytes(k_type, head_dim_k);
}

/* Bytes of scratch for an indexer: that of a kernel, queries of n_query elements, and scores of n_keys keys. */
static inline size_t rz_index_bytes(size_t n_query, size_t n_keys)
{
    return RZ_INDEX_SCRATCH + (n_query + n_keys) * sizeof(float);
}

/* Floats of scratch that routing to n_expert experts needs. */
static inline size_t rz_route_scratch(size_t n_expert) { return 3 * n_expert; }

/* Whether an op computes a row from the same row of its inputs, and from nothing else of the step. */
int rz_is_rowwise(const struct rz_op *op);

/* Runs one step on all workers; returns 0, or an errno when the pool cannot start. */
int rz_program_run(struct rz_program *program, const struct rz_batch *batch);

#endif
