/* struct rz_kernels: the table that every ISA level fills, and the types of the functions in it. */
#ifndef REALIZAR_TABLE_H
#define REALIZAR_TABLE_H

#include <float.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "realizar/formats.h"
#include "realizar/kv_types.h"

/* ---- activation rows ------------------------------------------------------------------------------------------ */

/* A quantized activation row, one per token: int8 q[k]; float d[k / block]; int16 s[k / group]. block is 32 (group 32)
 * or 256 (group 16). */
static inline size_t rz_act_group(int block) { return block == 32 ? 32 : 16; }
static inline size_t rz_act_d_offset(size_t k) { return k; }
static inline size_t rz_act_s_offset(size_t k, int block) { return k + k / (size_t)block * sizeof(float); }

/* Bytes of a quantized row: whole cache lines, and an odd number of them so that rows do not alias in L1. */
static inline size_t rz_act_bytes(size_t k, int block)
{
    size_t lines = (rz_act_s_offset(k, block) + k / rz_act_group(block) * sizeof(int16_t) + 63) / 64;
    return (lines | 1) * 64;
}

typedef void rz_quantize_act_fn(const float *x, size_t k, void *q_row);

/* int16 activations are two quantized rows: that of the row, and that of its rounding error (the residual). The product
 * is the sum of the products with both. */
typedef void rz_residual_act_fn(const float *x, size_t k, int block, const void *q_row, float *y);

/* ---- products --------------------------------------------------------------------------------------------------- */

/* y[t * ldy + r] = dot(weight row r, x row t) for r in [r0, r1) and t in [0, n). w: first weight row, w_stride: bytes
 * per row; k: elements per row; x: quantized activation rows or float rows, x_stride: bytes per row; scratch:
 * rz_gemm_scratch(k) bytes, 64-byte aligned, private to the calling thread, after rz_forget_panels. */
typedef void rz_matmul_fn(const void *w, size_t w_stride, size_t k, size_t r0, size_t r1, const void *x,
                          size_t x_stride, size_t n, float *y, size_t ldy, void *scratch);

/* Weight rows are distributed over the workers in tiles of this many. */
#define RZ_TILE_ROWS 32

/* Scratch of a product: a key that identifies the contents of the panels; the working set of one step (tiles of weights
 * and sums); and panels of packed tokens, as many as fit a typical L2 together with that, but at least six tokens of
 * two bytes per element. In ISA levels without panels: RZ_TILE_ROWS completely unpacked rows with their scales. */
#define RZ_KEY_BYTES 64
#define RZ_STEP_BYTES (320 * 1024)
static inline size_t rz_panel_bytes(size_t k) { return 12 * k > 1024 * 1024 ? 12 * k : 1024 * 1024; }
static inline size_t rz_gemm_scratch(size_t k)
{
    size_t panels = RZ_KEY_BYTES + RZ_STEP_BYTES + rz_panel_bytes(k);
    size_t tiles = RZ_TILE_ROWS * (k + k / 8 * sizeof(float)) + 4096;
    return panels > tiles ? panels : tiles;
}

/* Up to this many tokens, the packed panel is reused across ranges of weight rows until rz_forget_panels(). */
static inline size_t rz_gemm_tokens(size_t k)
{
    size_t fit = rz_panel_bytes(k) / (2 * k);
    return (fit < 960 ? fit : 960) / 6 * 6;
}
static inline void rz_forget_panels(void *scratch) { memset(scratch, 0, RZ_KEY_BYTES); }

typedef void rz_dequantize_fn(const void *w, size_t k, float *y);

/* The best number of tokens for one call of gemm. */
typedef size_t rz_tokens_fn(size_t k);

struct rz_format_kernels {
    rz_dequantize_fn *dequantize;
    rz_matmul_fn *gemv;        /* int8 activations (f32 for float formats), few tokens: reads the blocks of the file */
    rz_matmul_fn *gemm;        /* the same product for many tokens: unpacks tiles of rows */
    rz_matmul_fn *matmul_f32;  /* f32 activations */
    rz_tokens_fn *gemm_tokens; /* best number of tokens for gemm; NULL: rz_gemm_tokens */
};

/* ---- attention --------------------------------------------------------------------------------------------------- */

enum { RZ_ATTEND_TILE = 64, RZ_ATTEND_SPLIT = 512 };

/* Bidirectional spans within causal attention: the numbers of rows of its span before and after a row; 0 and 0 outside
 * of spans. All rows of a span are in one step, so their keys are stored before attention begins. */
struct rz_reach {
    int32_t before, after;
};

/* Attention of the n_tokens * n_group queries of one KV head to one split of RZ_ATTEND_SPLIT keys.
 *
 * Query (t, h) is q[t * q_stride + h * head_dim_k]; it sees keys in (pos0 + t - window, pos0 + t] when causal (window
 * 0: no lower bound; chunked: from the last multiple of window on), none of the first `skip` keys but its own, and the
 * keys of its span; otherwise those at most window / 2 from pos0 + t (window 0: all), always below n_keys. k and v point
 * at this head in physical block 0; block b of the sequence is block_table[b] * k_block_stride bytes further. Results:
 * acc[(t * n_group + h) * head_dim_v + d], m and l[t * n_group + h]; a query that sees no key of the split gets m =
 * -INFINITY, l = 0 and acc = 0. */
struct rz_attend_args {
    const float *q;
    size_t q_stride; /* floats from one token's queries to the next */
    int n_tokens, n_group, head_dim_k, head_dim_v;
    int64_t pos0, n_keys, key0; /* key0: first key of the split, a multiple of RZ_ATTEND_SPLIT */
    int window, causal, chunked, skip;
    const struct rz_reach *reach; /* [n_tokens], or NULL: no query is in a span */
    float scale, softcap;         /* softcap 0: none */
    const float *bias; /* or NULL: bias[h * bias_stride + key - query] is added to the score; see RZ_BIAS_PAD */
    size_t bias_stride;
    int k_type, v_type;
    int latent; /* 1: V is the first head_dim_v elements of the cached K (MLA), transformed if K is */
    const char *k, *v;
    size_t k_block_stride, v_block_stride;
    const int32_t *block_table;
    float *m, *l, *acc;
    void *scratch; /* RZ_ATTEND_SCRATCH bytes, 64-byte aligned, private to the calling thread */
};
#define RZ_ATTEND_SCRATCH (512 * 1024)
/* Number of floats after each head's biases that may be read but are not used: keys are processed in blocks. */
#define RZ_BIAS_PAD RZ_KV_BLOCK
/* Upper bounds of the queries of a call and of head_dim_k. */
#define RZ_ATTEND_MAX_QUERIES 96
#define RZ_ATTEND_MAX_HEAD_DIM 768
/* Upper bound of head_dim_v if values are a prefix of their keys (MLA) and must be transposed. */
#define RZ_LATENT_MAX_DIM 512

typedef void rz_attend_fn(const struct rz_attend_args *args);

/* Merges the partial result (mp, lp, accp) of a later split into (m, l, acc) of the earlier ones, for one query. */
typedef void rz_attend_merge_fn(float *m, float *l, float *acc, float mp, float lp, const float *accp, size_t head_dim);

/* Writes one head of one token into its slot of a cache block; scalar/kv.h has the layouts. */
typedef void rz_kv_store_fn(const float *x, size_t head_dim, int slot, void *block);

/* Scores of an indexer for one query: scores[16 b + j] = sum over h of weights[h] * relu(q[h] . k) for the keys of the
 * blocks [first, end) of a sequence; those of unused slots may be anything. q: n_head rows of head_dim elements, in the
 * form of the cached keys. */
struct rz_index_args {
    const float *q, *weights;
    size_t n_head, head_dim;
    int k_type;
    const char *k;
    size_t k_block_stride;
    const int32_t *block_table;
    size_t first, end;
    float *scores;
    void *scratch; /* RZ_INDEX_SCRATCH bytes, 64-byte aligned, private to the calling thread */
};
#define RZ_INDEX_SCRATCH (256 * 1024)

typedef void rz_index_scores_fn(const struct rz_index_args *args);

/* ---- recurrences -------------------------------------------------------------------------------------------------- */

/* n_tokens steps of a selective scan (docs/graph.md) of one sequence, for the heads [first, end).
 *
 * Row t of x, dt, b, c, y begins ld... floats after row t - 1. The state is stored in tiles of RZ_SCAN_TILE channels,
 * [n_state][channels of the tile], tile after tile, and so is `a` if it has n_state numbers for each channel; the last
 * tile of a head has fewer channels if head_dim is not a multiple. scan_channels: heads of one channel (tiles span
 * heads) and one group; first is a multiple of RZ_SCAN_TILE. scan_heads: a is one number for each head. */
enum { RZ_SCAN_TILE = 16 };
/* The number of channels of the tile that begins with channel `tile` of n. */
static inline size_t rz_scan_width(size_t tile, size_t n) { return n - tile < RZ_SCAN_TILE ? n - tile : RZ_SCAN_TILE; }

struct rz_scan_args {
    const float *x, *dt, *b, *c, *a, *d, *dt_bias; /* dt_bias or NULL */
    size_t ldx, lddt, ldb, ldc, ldy;
    float *state, *y;
    size_t n_tokens, n_head, head_dim, n_state, n_group, first, end;
};

typedef void rz_scan_fn(const struct rz_scan_args *args);

/* n_tokens steps of the gated or the generalized delta rule (docs/graph.md) of one sequence, for the units [first, end):
 * a unit is up to RZ_DELTA_UNIT value channels of one head, whose part of the state fits L1.
 *
 * Rows as above. The state of a head is stored in tiles of value channels, [head_dim_k][channels of the tile]. decay has
 * one number per head, or head_dim_k if by_channel; head h uses the key of head h / (n_head / n_head_k), or of head
 * h % n_head_k if tiled. The generalized rule has a and b in the form of k, no beta, and decays by channel. */
enum { RZ_DELTA_UNIT = 64 };

struct rz_delta_args {
    const float *q, *k, *v, *decay, *beta, *a, *b; /* beta, or a and b; the others are NULL */
    size_t ldq, ldk, ldv, lddecay, ldbeta, lda, ldb, ldy;
    float *state, *y;
    size_t n_tokens, n_head, n_head_k, head_dim_k, head_dim_v;
    int by_channel, tiled;
    size_t first, end;
};

/* A unit: its heads, the first of its n channels, the first of its decays. */
struct rz_delta_unit {
    size_t head, head_k, channel, n, decay;
};

static inline size_t rz_delta_units(size_t head_dim_v) { return (head_dim_v + RZ_DELTA_UNIT - 1) / RZ_DELTA_UNIT; }

static inline struct rz_delta_unit rz_delta_find(const struct rz_delta_args *args, size_t unit)
{
    size_t each = rz_delta_units(args->head_dim_v), head = unit / each, channel = unit % each * RZ_DELTA_UNIT;
    size_t left = args->head_dim_v - channel;
    return (struct rz_delta_unit){
        .head = head,
        .head_k = args->tiled ? head % args->n_head_k : head / (args->n_head / args->n_head_k),
        .channel = channel,
        .n = left < RZ_DELTA_UNIT ? left : RZ_DELTA_UNIT,
        .decay = args->by_channel ? head * args->head_dim_k : head,
    };
}

typedef void rz_delta_fn(const struct rz_delta_args *args);

/* ---- logits ------------------------------------------------------------------------------------------------------- */

/* Logits are summarized in blocks of this many, the last one possibly shorter. Blocks are independent of each other. */
enum { RZ_LOGITS_BLOCK = 64 };
/* Upper bound of the difference to the maximum: e**-x is 0 there. */
#define RZ_FALL_MAX 128.0f
/* The number that is subtracted from the logits of a block: their maximum, or a finite number if that is -Inf, since
 * -Inf - -Inf is NaN. */
static inline float rz_block_base(float max) { return -FLT_MAX > max ? -FLT_MAX : max; }

/* For each block of n logits: the greatest, and the sum of e**(x - greatest); NaN if a logit is NaN or +Inf. */
typedef void rz_logit_sums_fn(const float *x, size_t n, float *max, float *sum);
/* For each block, given its greatest logit: the sum of e**(x - greatest) * (greatest - x). */
typedef void rz_logit_falls_fn(const float *x, size_t n, const float *max, float *fall);
/* y = e**(x - peak) for each element; no x is above the peak. */
typedef void rz_logit_weights_fn(const float *x, float peak, size_t n, float *y);

/* ---- adapters ----------------------------------------------------------------------------------------------------- */

/* Adds a product with a low-rank factor: y[c] += sum_r h[r] * B[c][r] for c in [0, n), r ascending. b holds B in tiles of
 * RZ_FACTOR_TILE rows, each transposed: [rank][RZ_FACTOR_TILE], the last one padded. */
enum { RZ_FACTOR_TILE = 64 };
typedef void rz_add_product_fn(const float *h, const void *b, size_t rank, size_t n, float *y);

/* ---- the table -------------------------------------------------------------------------------------------------- */

/* Elementwise functions of one row: of x, of x and a number, of x and another row. y may be an input. */
typedef void rz_unary_fn(const float *x, size_t n, float *y);
typedef void rz_scaled_fn(const float *x, float s, size_t n, float *y);
typedef void rz_binary_fn(const float *x, const float *x2, size_t n, float *y);

struct rz_kernels {
    const char *name;
    struct rz_format_kernels format[RZ_N_FORMATS];
    rz_quantize_act_fn *quantize_act_32;
    rz_quantize_act_fn *quantize_act_256;
    rz_residual_act_fn *residual_act;

    /* y = x * r * w with r = 1 / sqrt(mean(x^2) + eps); w may be NULL */
    void (*rms_norm)(const float *x, const float *w, float eps, size_t n, float *y);
    /* y = (x - mean) / sqrt(var + eps) * w + b; w, b may be NULL */
    void (*layer_norm)(const float *x, const float *w, const float *b, float eps, size_t n, float *y);
    rz_binary_fn *add;
    rz_binary_fn *mul;
    rz_scaled_fn *scale;
    rz_scaled_fn *clamp;    /* x, or the bound of [-s, s] next to it */
    rz_scaled_fn *softcap;  /* s * tanh(x / s) */
    rz_scaled_fn *hadamard; /* s * H x, of a power of two of elements; see scalar/hadamard.h */
    rz_unary_fn *silu;
    rz_unary_fn *gelu;     /* tanh approximation: 0.5 x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) */
    rz_unary_fn *gelu_erf; /* 0.5 x (1 + erf(x / sqrt(2))) */
    rz_unary_fn *sigmoid;
    rz_unary_fn *relu;
    rz_unary_fn *softplus;  /* ln(1 + exp(x)) */
    rz_unary_fn *elu;       /* x above zero, exp(x) - 1 below */
    rz_binary_fn *silu_mul; /* gated: silu(x) * x2, and so on */
    rz_binary_fn *gelu_mul;
    rz_binary_fn *gelu_erf_mul;
    rz_binary_fn *swiglu_oai; /* of gpt-oss: clamped, see scalar/math.h */
    rz_unary_fn *softmax;
    /* Rotates the first 2 * half elements of one head; cos and sin hold half elements.
     * neox: pairs (i, i + half); normal: pairs (2i, 2i + 1). y may be x. */
    void (*rope_neox)(const float *x, const float *cos, const float *sin, size_t half, float *y);
    void (*rope_norm)(const float *x, const float *cos, const float *sin, size_t half, float *y);
    /* One step of a depthwise causal convolution: y[c] = b[c] + sum_j w[j * ldw + c] * row_j[c], rows oldest first; b may
     * be NULL. */
    void (*conv_step)(const float *const *rows, const float *w, size_t ldw, const float *b, size_t n_tap,
                      size_t n_channel, float *y);
    /* y = x + w * (past - x) */
    void (*mix)(const float *x, const float *past, const float *w, size_t n, float *y);
    rz_scan_fn *scan_channels, *scan_heads;
    /* y = exp(a * softplus(x + b)), or exp(bound * sigmoid(a * (x + b))) if bound is not 0 */
    void (*decay)(const float *x, const float *a, const float *b, float bound, size_t n, float *y);
    rz_delta_fn *delta_rule;
    rz_logit_sums_fn *logit_sums;
    rz_logit_falls_fn *logit_falls;
    rz_logit_weights_fn *logit_weights;
    rz_add_product_fn *add_product_f32, *add_product_f16; /* by the type of b */

    rz_attend_fn *attend;
    rz_attend_merge_fn *attend_merge;
    rz_index_scores_fn *index_scores;
    rz_kv_store_fn *store_k[RZ_N_KV];
    rz_kv_store_fn *store_v[RZ_N_KV];
};

/* rope.c: cos and sin of the f32 angles position * inv_freq[i], times mscale; the same code for every ISA level. */
void rz_rope_table(const float *inv_freq, size_t half, float position, float mscale, float *cos, float *sin);

#endif
