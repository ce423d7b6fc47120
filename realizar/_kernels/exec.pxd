"""exec.h and the shapes it is made of, for plan.pyx."""

from libc.stdint cimport int32_t

cdef extern from "realizar/exec.h" nogil:
    ctypedef struct rz_pool:
        pass
    rz_pool *rz_pool_new(int n_threads)
    void rz_pool_free(rz_pool *pool)
    void rz_pool_stop(rz_pool *pool)
    int rz_pool_size(const rz_pool *pool)
    ctypedef void rz_pool_fn(void *arg, int worker, int n_threads) noexcept nogil
    int rz_pool_run(rz_pool *pool, rz_pool_fn *fn, void *arg)

    ctypedef void rz_matmul_fn()
    ctypedef void rz_tokens_fn()
    enum:
        RZ_LATENT_MAX_DIM
        RZ_ATTEND_MAX_HEAD_DIM
        RZ_KV_BLOCK
    struct rz_format_kernels:
        rz_matmul_fn *gemv
        rz_matmul_fn *gemm
        rz_matmul_fn *matmul_f32
        rz_tokens_fn *gemm_tokens
    # table.pxd names this struct for everybody; its fields are needed here alone
    ctypedef void rz_scan_fn()
    struct exec_kernels "rz_kernels":
        rz_format_kernels *format
        rz_scan_fn *scan_channels
        rz_scan_fn *scan_heads
    int RZ_SCAN_TILE

    struct rz_rows:
        float *data
        size_t ld
    struct rz_weight:
        rz_matmul_fn *gemv
        rz_matmul_fn *gemm
        rz_tokens_fn *gemm_tokens
        const char *data
        size_t stride
        size_t n_row
        const char *x
        size_t x_stride
        int n_planes
        const float *scale
        const float *bias
        rz_rows y
    struct rz_rope:
        const float *inv_freq
        const int32_t *axes
        float mscale
        int half
        int neox
        rz_rows table
    struct rz_attention:
        int group, k_type, v_type, n_head, n_head_kv, head_dim_k, head_dim_v, window, causal, chunked, skip, spans
        int cross, latent
        int m_rows
        float scale, softcap
        const float *bias
        size_t bias_stride
        const int32_t *step_blocks
        const float *sinks
        const rz_rope *rope
        char *k
        char *v
        size_t k_block_stride, v_block_stride, k_head_stride, v_head_stride
        rz_rows q, k_in, v_in, q_rot, out
        float *partial
        size_t n_partial
        rz_rows chosen
        size_t n_chosen
    struct rz_index:
        size_t n_keys
        rz_rows weights
        rz_rows scores
        size_t n_row
    int RZ_GATING_SOFTMAX, RZ_GATING_SIGMOID, RZ_GATING_SOFTMAX_CHOSEN
    int RZ_SWIGLU, RZ_GEGLU, RZ_SWIGLU_OAI, RZ_REGLU, RZ_RELU2, RZ_GELU_ERF
    struct rz_route:
        int gating, n_used, n_group, n_group_used, n_group_best, normalize
    struct rz_expert_weight:
        rz_weight weight
        size_t expert_stride
        char *pairs
        size_t input_bytes
    struct rz_experts:
        int n_expert, n_used, activation, down_block, n_up, is_linear
        float limit
        rz_rows ids, weights
        rz_expert_weight *up
        rz_expert_weight down
        int32_t *n_active
        int32_t *active
        int32_t *first
        int32_t *token
        int32_t *place
    struct rz_scan:
        rz_scan_fn *run
        size_t n_head, head_dim, n_state, n_group, unit
        const float *a
        const float *d
        const float *dt_bias
        rz_rows dt, b, c
    struct rz_delta:
        size_t n_head, n_head_k, head_dim_k, head_dim_v
        int by_channel, tiled
        rz_rows k, v, decay, beta, a, b
    int RZ_F32, RZ_F16
    struct rz_factors:
        const char *a
        const char *b
        size_t rank, n_in, n_out, a_stride, b_stride
        float scale
        int format
    struct rz_adapter:
        const rz_factors *factors
        size_t n_slot
    struct rz_adapter_set:
        size_t n
        const rz_adapter **adapter
        const float *scale
    struct rz_update:
        size_t slot, n_row
        rz_rows y
    struct rz_updates:
        size_t n
        rz_update *update
        size_t max_rank
        rz_rows ax
    struct rz_op:
        int code
        int m_rows
        size_t n
        int n_repeat
        rz_rows x, x2, y
        size_t x_step, y_step
        float scalar
        const float *w
        const float *b
        size_t w_step
        char *act32
        char *act256
        size_t act32_stride, act256_stride
        rz_weight *weight
        int n_weight, embed_format
        const rz_rope *rope
        const rz_attention *attention
        const rz_index *index
        const rz_route *route
        const rz_experts *experts
        const rz_scan *scan
        const rz_delta *delta
        const rz_updates *updates
        char *state
        size_t n_tap, state_stride
        int silu, by_token, joined
    struct rz_counter:
        pass
    struct rz_reach:
        int32_t before, after
    struct rz_batch:
        int n_tokens, n_seqs, n_outputs, n_groups, n_axes
        const int32_t *tokens
        const int32_t *positions
        const float *embeddings
        const int32_t *embedding_of
        const rz_reach *reach
        const int32_t *seq_start
        const int32_t *seq_past
        const int32_t *encoder_lengths
        const int32_t *state_slots
        const int32_t *outputs
        const int32_t *n_drafts
        const int32_t *draft_slots
        const int32_t **block_table
        const int32_t *table_width
        size_t n_set
        const rz_adapter_set **set
        const int32_t *set_of
    struct rz_program:
        const exec_kernels *kernels
        rz_op *op
        size_t n_op
        int n_planes
        char *scratch
        size_t scratch_stride
        rz_pool *pool
        rz_counter *next
    size_t rz_scratch_bytes(size_t k, size_t n_row_floats, size_t head_dim_v, size_t other)
    size_t rz_chosen_bytes(int k_type, size_t head_dim_k, size_t head_dim_v)
    size_t rz_index_bytes(size_t n_query, size_t n_keys)
    size_t rz_act_bytes(size_t k, int block)
    size_t rz_route_scratch(size_t n_expert)
    int rz_is_rowwise(const rz_op *op)
    int rz_program_run(rz_program *program, const rz_batch *batch)
    int RZ_OP_EMBED, RZ_OP_EMBED_IDS, RZ_OP_EMBED_POSITIONS, RZ_OP_EMBED_TYPES, RZ_OP_GATHER_ROWS
    int RZ_OP_RMS_NORM, RZ_OP_LAYER_NORM, RZ_OP_ADD, RZ_OP_MUL, RZ_OP_POOL_FIRST, RZ_OP_POOL_MEAN, RZ_OP_SOFTMAX
    int RZ_OP_SCALE, RZ_OP_SCALE_ROWS, RZ_OP_CLAMP, RZ_OP_SOFTCAP, RZ_OP_SILU, RZ_OP_GELU, RZ_OP_GELU_ERF
    int RZ_OP_SIGMOID, RZ_OP_RELU, RZ_OP_SOFTPLUS, RZ_OP_ELU, RZ_OP_HADAMARD
    int RZ_OP_SWIGLU, RZ_OP_GEGLU, RZ_OP_GEGLU_ERF, RZ_OP_QUANTIZE, RZ_OP_LINEAR, RZ_OP_ROPE_TABLE
    int RZ_OP_ROPE, RZ_OP_KV_STORE, RZ_OP_ATTEND, RZ_OP_MERGE, RZ_OP_CAUSAL_CONV1D, RZ_OP_SCAN, RZ_OP_DECAY
    int RZ_OP_DELTA_RULE, RZ_OP_TOKEN_SHIFT, RZ_OP_COPY_HEADS, RZ_OP_INDEX_SCORES, RZ_OP_CHOOSE_KEYS
    int RZ_OP_QUANTIZE_HEADS, RZ_OP_PER_HEAD_LINEAR, RZ_OP_CHOOSE_EXPERTS, RZ_OP_WEIGH_EXPERTS, RZ_OP_EXPERTS_GROUP
    int RZ_OP_EXPERTS_GATHER, RZ_OP_EXPERTS_UP, RZ_OP_EXPERTS_QUANTIZE, RZ_OP_EXPERTS_DOWN, RZ_OP_EXPERTS_SUM
    int RZ_OP_LOW_RANK_DOWN, RZ_OP_LOW_RANK_UP, RZ_OP_LOW_RANK_EMBED
    int RZ_OP_EXPERTS_UPDATE_UP, RZ_OP_EXPERTS_UPDATE_DOWN
