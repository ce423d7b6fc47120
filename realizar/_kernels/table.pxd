"""The kernel table, for the compiled modules."""

from libc.stdint cimport int32_t, int64_t

cdef extern from "realizar/table.h" nogil:
    enum:
        RZ_N_KV
        RZ_KV_BLOCK
        RZ_ATTEND_SPLIT
        RZ_BIAS_PAD
        RZ_ATTEND_SCRATCH
        RZ_ATTEND_MAX_QUERIES
        RZ_ATTEND_MAX_HEAD_DIM
        RZ_LATENT_MAX_DIM

    struct rz_reach:
        int32_t before, after
    struct rz_attend_args:
        const float *q
        size_t q_stride
        int n_tokens, n_group, head_dim_k, head_dim_v
        int64_t pos0, n_keys, key0
        int window, causal, chunked, skip
        const rz_reach *reach
        float scale, softcap
        const float *bias
        size_t bias_stride
        int k_type, v_type, latent
        const char *k
        const char *v
        size_t k_block_stride, v_block_stride
        const int32_t *block_table
        float *m
        float *l
        float *acc
        void *scratch

    struct rz_index_args:
        const float *q
        const float *weights
        size_t n_head, head_dim
        int k_type
        const char *k
        size_t k_block_stride
        const int32_t *block_table
        size_t first, end
        float *scores
        void *scratch
    enum:
        RZ_INDEX_SCRATCH
        RZ_SCAN_TILE
    struct rz_scan_args:
        const float *x
        const float *dt
        const float *b
        const float *c
        const float *a
        const float *d
        const float *dt_bias
        size_t ldx, lddt, ldb, ldc, ldy
        float *state
        float *y
        size_t n_tokens, n_head, head_dim, n_state, n_group, first, end

    struct rz_delta_args:
        const float *q
        const float *k
        const float *v
        const float *decay
        const float *beta
        const float *a
        const float *b
        size_t ldq, ldk, ldv, lddecay, ldbeta, lda, ldb, ldy
        float *state
        float *y
        size_t n_tokens, n_head, n_head_k, head_dim_k, head_dim_v
        int by_channel, tiled
        size_t first, end
    size_t rz_delta_units(size_t head_dim_v)

    struct rz_kv_type:
        const char *name
        size_t scale
        int transforms_k, transforms_v
    const rz_kv_type *rz_kv_types
    size_t rz_kv_bytes(int type, size_t head_dim)

    ctypedef void rz_scan_fn(const rz_scan_args *args) noexcept nogil
    ctypedef void rz_delta_fn(const rz_delta_args *args) noexcept nogil

    ctypedef void rz_attend_fn(const rz_attend_args *args) noexcept nogil
    ctypedef void rz_index_scores_fn(const rz_index_args *args) noexcept nogil
    ctypedef void rz_kv_store_fn(const float *x, size_t head_dim, int slot, void *block) noexcept nogil

    ctypedef void rz_unary_fn(const float *x, size_t n, float *y) noexcept nogil
    ctypedef void rz_scaled_fn(const float *x, float s, size_t n, float *y) noexcept nogil
    ctypedef void rz_binary_fn(const float *x, const float *x2, size_t n, float *y) noexcept nogil

    enum:
        RZ_LOGITS_BLOCK
    ctypedef void rz_logit_sums_fn(const float *x, size_t n, float *max, float *sum) noexcept nogil
    ctypedef void rz_logit_falls_fn(const float *x, size_t n, const float *max, float *fall) noexcept nogil
    ctypedef void rz_logit_weights_fn(const float *x, float peak, size_t n, float *y) noexcept nogil

    enum:
        RZ_FACTOR_TILE
    ctypedef void rz_add_product_fn(const float *h, const void *b, size_t rank, size_t n, float *y) noexcept nogil

    struct rz_kernels:
        const char *name
        void (*rms_norm)(const float *x, const float *w, float eps, size_t n, float *y) noexcept nogil
        void (*layer_norm)(const float *x, const float *w, const float *b, float eps, size_t n, float *y) noexcept nogil
        rz_binary_fn *add
        rz_binary_fn *mul
        rz_scaled_fn *scale
        rz_scaled_fn *clamp
        rz_scaled_fn *softcap
        rz_scaled_fn *hadamard
        rz_unary_fn *silu
        rz_unary_fn *gelu
        rz_unary_fn *gelu_erf
        rz_unary_fn *sigmoid
        rz_unary_fn *relu
        rz_unary_fn *softplus
        rz_unary_fn *elu
        rz_binary_fn *silu_mul
        rz_binary_fn *gelu_mul
        rz_binary_fn *gelu_erf_mul
        rz_binary_fn *swiglu_oai
        rz_unary_fn *softmax
        void (*rope_neox)(const float *x, const float *cos, const float *sin, size_t half, float *y) noexcept nogil
        void (*rope_norm)(const float *x, const float *cos, const float *sin, size_t half, float *y) noexcept nogil
        void (*conv_step)(const float *const *rows, const float *w, size_t ldw, const float *b, size_t n_tap,
                          size_t n_channel, float *y) noexcept nogil
        void (*mix)(const float *x, const float *past, const float *w, size_t n, float *y) noexcept nogil
        rz_scan_fn *scan_channels
        rz_scan_fn *scan_heads
        void (*decay)(const float *x, const float *a, const float *b, float bound, size_t n, float *y) noexcept nogil
        rz_delta_fn *delta_rule
        rz_logit_sums_fn *logit_sums
        rz_logit_falls_fn *logit_falls
        rz_logit_weights_fn *logit_weights
        rz_add_product_fn *add_product_f32
        rz_add_product_fn *add_product_f16
        rz_attend_fn *attend
        void (*attend_merge)(float *m, float *l, float *acc, float mp, float lp, const float *accp,
                             size_t head_dim) noexcept nogil
        rz_index_scores_fn *index_scores
        rz_kv_store_fn *store_k[RZ_N_KV]
        rz_kv_store_fn *store_v[RZ_N_KV]

# The table of an ISA level by its name; the chosen one when isa is None. ValueError for a name that is not available.
cdef const rz_kernels *kernels(str isa=*) except NULL
