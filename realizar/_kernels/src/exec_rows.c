/* Ops whose item is a row of the step, and the recurrence, whose item is a sequence. */
#include <string.h>

#include "realizar/worker.h"

size_t rz_items_rows(const struct rz_worker *w, const struct rz_op *op) { return rz_n_rows(w, op); }
size_t rz_items_sequences(const struct rz_worker *w, const struct rz_op *op) { return (size_t)w->batch->n_seqs; }

void rz_run_embed(struct rz_worker *w, const struct rz_op *op, size_t t)
{
    const struct rz_weight *table = op->weight;
    const char *source = table->data + (size_t)w->batch->tokens[t] * table->stride;
    w->kernels->format[op->embed_format].dequantize(source, op->n, rz_row(op->y, t));
}

void rz_run_take_rows(struct rz_worker *w, const struct rz_op *op, size_t t)
{
    memcpy(rz_row(op->y, t), rz_row(op->x, (size_t)w->batch->outputs[t]), op->n * sizeof(float));
}

/* Writes the records of a finished row that products will read. */
static void quantize_row(struct rz_worker *w, const struct rz_op *op, const float *y, size_t t)
{
    size_t n = op->n * (size_t)op->n_repeat;
    if (op->act32) w->kernels->quantize_act_32(y, n, op->act32 + t * op->act32_stride);
    if (op->act256) w->kernels->quantize_act_256(y, n, op->act256 + t * op->act256_stride);
}

void rz_run_rowwise(struct rz_worker *w, const struct rz_op *op, size_t t)
{
    const struct rz_kernels *k = w->kernels;
    const float *x = rz_row(op->x, t);
    float *y = op->y.data ? rz_row(op->y, t) : (float *)w->scratch; /* no y: only its records are wanted */
    size_t n = op->n;
    for (int g = 0; g < op->n_repeat; g++) {
        const float *xg = x + (size_t)g * n;
        const float *x2g = op->x2.data ? rz_row(op->x2, t) + (size_t)g * n : NULL;
        float *yg = y + (size_t)g * n;
        switch (op->code) {
        case RZ_OP_RMS_NORM:
            k->rms_norm(xg, op->w, op->scalar, n, yg);
            break;
        case RZ_OP_LAYER_NORM:
            k->layer_norm(xg, op->w, op->b, op->scalar, n, yg);
            break;
        case RZ_OP_ADD:
            k->add(xg, x2g, n, yg);
            break;
        case RZ_OP_MUL:
            k->mul(xg, x2g, n, yg);
            break;
        case RZ_OP_SCALE:
            k->scale(xg, op->scalar, n, yg);
            break;
        case RZ_OP_SILU:
            k->silu(xg, n, yg);
            break;
        case RZ_OP_GELU:
            k->gelu(xg, n, yg);
            break;
        case RZ_OP_SWIGLU:
            k->silu_mul(xg, x2g, n, yg);
            break;
        default:
            break;
        }
    }
    quantize_row(w, op, y, t);
}

void rz_run_quantize(struct rz_worker *w, const struct rz_op *op, size_t t)
{
    quantize_row(w, op, rz_row(op->x, t), t);
}

void rz_run_rope_table(struct rz_worker *w, const struct rz_op *op, size_t t)
{
    const struct rz_rope *r = op->rope;
    float *cos = rz_row(r->table, t);
    rz_rope_table(r->inv_freq, (size_t)r->half, (float)w->batch->positions[t], r->mscale, cos, cos + r->half);
}

/* Rotates n_head heads of a token; the elements behind the rotated ones are copied. */
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
    rz_rotate(w, op->rope, t, rz_row(op->x, t), (size_t)op->n_repeat, op->n, rz_row(op->y, t));
}

void rz_run_short_conv(struct rz_worker *w, const struct rz_op *op, size_t s)
{
    const struct rz_batch *b = w->batch;
    size_t n_past = op->n_tap - 1, n = op->n, t0 = (size_t)b->seq_start[s], n_row = (size_t)b->seq_start[s + 1] - t0;
    float *state = (float *)(op->state + (size_t)b->state_slots[s] * op->state_stride);
    const float **tap = (const float **)w->scratch;
    if (b->seq_past[s] == 0) memset(state, 0, n_past * n * sizeof(float));
    for (size_t t = 0; t < n_row; t++) {
        for (size_t j = 0; j < op->n_tap; j++) /* token t looks at rows t - n_past ... t of [state; x] */
            tap[j] = t + j < n_past ? state + (t + j) * n : rz_row(op->x, t0 + t + j - n_past);
        w->kernels->conv_step(tap, op->w, op->n_tap, n, rz_row(op->y, t0 + t));
    }
    for (size_t j = 0; j < n_past; j++) {
        const float *source = n_row + j < n_past ? state + (n_row + j) * n : rz_row(op->x, t0 + n_row + j - n_past);
        memmove(state + j * n, source, n * sizeof(float));
    }
}
