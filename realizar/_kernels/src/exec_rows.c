/* Ops whose item is a row of the step. */
#include <string.h>

#include "realizar/worker.h"

size_t rz_items_rows(const struct rz_worker *w, const struct rz_op *op) { return rz_n_rows(w, op); }

/* A row of the table, dequantized, as row t of y. */
static void look_up(struct rz_worker *w, const struct rz_op *op, size_t t, size_t row)
{
    const struct rz_weight *table = op->weight;
    w->kernels->format[op->embed_format].dequantize(table->data + row * table->stride, op->n, rz_row(op->y, t));
}

/* Rows of the table by token id, also where the step has embeddings. */
void rz_run_embed_ids(struct rz_worker *w, const struct rz_op *op, size_t t)
{
    float *y = rz_row(op->y, t);
    look_up(w, op, t, (size_t)w->batch->tokens[t]);
    if (op->scalar != 1) w->kernels->scale(y, op->scalar, op->n, y);
}

/* Embedding inputs are copied unchanged; the factor applies only to rows of the table. */
void rz_run_embed(struct rz_worker *w, const struct rz_op *op, size_t t)
{
    const struct rz_batch *b = w->batch;
    if (b->embedding_of && b->embedding_of[t] >= 0)
        memcpy(rz_row(op->y, t), b->embeddings + (size_t)b->embedding_of[t] * op->n, op->n * sizeof(float));
    else
        rz_run_embed_ids(w, op, t);
}

void rz_run_embed_positions(struct rz_worker *w, const struct rz_op *op, size_t t)
{
    look_up(w, op, t, (size_t)w->batch->positions[t]);
}

void rz_run_embed_types(struct rz_worker *w, const struct rz_op *op, size_t t) { look_up(w, op, t, 0); }

void rz_run_gather_rows(struct rz_worker *w, const struct rz_op *op, size_t t)
{
    memcpy(rz_row(op->y, t), rz_row(op->x, (size_t)w->batch->outputs[t]), op->n * sizeof(float));
}

/* The sequence that output t of the step belongs to. */
static size_t sequence_of(const struct rz_batch *b, size_t t)
{
    size_t s = 0;
    while (b->seq_start[s + 1] <= b->outputs[t]) s++;
    return s;
}

void rz_run_pool_first(struct rz_worker *w, const struct rz_op *op, size_t t)
{
    const struct rz_batch *b = w->batch;
    memcpy(rz_row(op->y, t), rz_row(op->x, (size_t)b->seq_start[sequence_of(b, t)]), op->n * sizeof(float));
}

void rz_run_pool_mean(struct rz_worker *w, const struct rz_op *op, size_t t)
{
    const struct rz_batch *b = w->batch;
    size_t s = sequence_of(b, t), first = (size_t)b->seq_start[s], end = (size_t)b->seq_start[s + 1];
    double *sum = (double *)w->scratch; /* holds two rows of floats */
    memset(sum, 0, op->n * sizeof *sum);
    for (size_t row = first; row < end; row++) {
        const float *x = rz_row(op->x, row);
        for (size_t i = 0; i < op->n; i++) sum[i] += x[i];
    }
    float *y = rz_row(op->y, t);
    for (size_t i = 0; i < op->n; i++) y[i] = (float)(sum[i] / (double)(end - first));
}

void rz_quantize(const struct rz_worker *w, int block, const float *x, size_t n, char *q_rows, size_t stride,
                 float *spare)
{
    rz_quantize_act_fn *quantize = block == 32 ? w->kernels->quantize_act_32 : w->kernels->quantize_act_256;
    quantize(x, n, q_rows);
    if (w->n_planes == 1) return;
    w->kernels->residual_act(x, n, block, q_rows, spare);
    quantize(spare, n, q_rows + stride / 2);
}

/* Quantizes a finished row for the products that read it. */
static void quantize_row(struct rz_worker *w, const struct rz_op *op, const float *y, size_t t)
{
    size_t n = op->n * (size_t)op->n_repeat;
    float *spare = (float *)w->scratch + n; /* y may be before it */
    if (op->act32) rz_quantize(w, 32, y, n, op->act32 + t * op->act32_stride, op->act32_stride, spare);
    if (op->act256) rz_quantize(w, 256, y, n, op->act256 + t * op->act256_stride, op->act256_stride, spare);
}

static rz_unary_fn *unary(const struct rz_kernels *k, int code)
{
    switch (code) {
    case RZ_OP_SILU:
        return k->silu;
    case RZ_OP_GELU:
        return k->gelu;
    case RZ_OP_GELU_ERF:
        return k->gelu_erf;
    case RZ_OP_SIGMOID:
        return k->sigmoid;
    case RZ_OP_SOFTPLUS:
        return k->softplus;
    case RZ_OP_ELU:
        return k->elu;
    default:
        return k->relu;
    }
}

static rz_binary_fn *binary(const struct rz_kernels *k, int code)
{
    switch (code) {
    case RZ_OP_ADD:
        return k->add;
    case RZ_OP_MUL:
        return k->mul;
    case RZ_OP_SWIGLU:
        return k->silu_mul;
    case RZ_OP_GEGLU:
        return k->gelu_mul;
    default:
        return k->gelu_erf_mul;
    }
}

/* One group of a row. */
static void rowwise(const struct rz_kernels *k, const struct rz_op *op, const float *x, const float *x2, const float *w,
                    const float *b, float *y)
{
    switch (op->code) {
    case RZ_OP_RMS_NORM:
        k->rms_norm(x, w, op->scalar, op->n, y);
        if (b) k->add(y, b, op->n, y);
        break;
    case RZ_OP_LAYER_NORM:
        k->layer_norm(x, w, b, op->scalar, op->n, y);
        break;
    case RZ_OP_DECAY:
        k->decay(x, w, b, op->scalar, op->n, y);
        break;
    case RZ_OP_SCALE:
        k->scale(x, op->scalar, op->n, y);
        break;
    case RZ_OP_SCALE_ROWS:
        k->scale(x, x2[0], op->n, y);
        break;
    case RZ_OP_CLAMP:
        k->clamp(x, op->scalar, op->n, y);
        break;
    case RZ_OP_SOFTCAP:
        k->softcap(x, op->scalar, op->n, y);
        break;
    case RZ_OP_HADAMARD:
        if (w) k->mul(x, w, op->n, y);
        k->hadamard(w ? y : x, op->scalar, op->n, y);
        if (b) k->mul(y, b, op->n, y);
        break;
    case RZ_OP_SOFTMAX:
        k->softmax(x, op->n, y);
        break;
    default:
        if (x2 || w)
            binary(k, op->code)(x, x2 ? x2 : w, op->n, y);
        else
            unary(k, op->code)(x, op->n, y);
    }
}

void rz_run_rowwise(struct rz_worker *w, const struct rz_op *op, size_t t)
{
    const float *x = rz_row(op->x, t), *x2 = op->x2.data ? rz_row(op->x2, t) : NULL;
    float *y = op->y.data ? rz_row(op->y, t) : (float *)w->scratch; /* no y: only its quantized rows are needed */
    size_t step = op->code == RZ_OP_SCALE_ROWS ? 1 : op->n;         /* of x2: a factor for each group */
    for (size_t g = 0; g < (size_t)op->n_repeat; g++) {
        const float *weight = op->w ? op->w + g * op->w_step : NULL, *bias = op->b ? op->b + g * op->w_step : NULL;
        rowwise(w->kernels, op, x + g * op->n, x2 ? x2 + g * step : NULL, weight, bias, y + g * op->n);
    }
    quantize_row(w, op, y, t);
}

void rz_run_quantize(struct rz_worker *w, const struct rz_op *op, size_t t)
{
    quantize_row(w, op, rz_row(op->x, t), t);
}

void rz_run_rope_table(struct rz_worker *w, const struct rz_op *op, size_t t)
{
    const struct rz_batch *b = w->batch;
    const struct rz_rope *r = op->rope;
    float *cos = rz_row(r->table, t), *sin = cos + r->half;
    if (r->axes == NULL || b->n_axes == 1) {
        rz_rope_table(r->inv_freq, (size_t)r->half, (float)b->positions[t], r->mscale, cos, sin);
        return;
    }
    for (int i = 0; i < r->half; i++) {
        float position = (float)b->positions[(size_t)r->axes[i] * (size_t)b->n_tokens + t];
        rz_rope_table(r->inv_freq + i, 1, position, r->mscale, cos + i, sin + i);
    }
}

/* Rotates n_head heads of row t of the step; the elements after the rotated ones are copied. */
void rz_rotate(struct rz_worker *w, const struct rz_rope *r, size_t t, const float *x, size_t n_head, size_t dim,
               float *y)
{
    const float *cos = rz_row(r->table, t), *sin = cos + r->half;
    size_t half = (size_t)r->half;
    for (size_t h = 0; h < n_head; h++, x += dim, y += dim) {
        if (r->neox)
            w->kernels->rope_neox(x, cos, sin, half, y);
        else
            w->kernels->rope_norm(x, cos, sin, half, y);
        memcpy(y + 2 * half, x + 2 * half, (dim - 2 * half) * sizeof(float));
    }
}

void rz_run_rope(struct rz_worker *w, const struct rz_op *op, size_t t)
{
    size_t row = rz_step_row(w->batch, op->m_rows, t);
    rz_rotate(w, op->rope, row, rz_row(op->x, t), (size_t)op->n_repeat, op->n, rz_row(op->y, t));
}
