/* Ops on the heads of a row: copies of parts of them, and products with a matrix for each head. */
#include <string.h>

#include "realizar/worker.h"

void rz_run_copy_heads(struct rz_worker *w, const struct rz_op *op, size_t t)
{
    const float *x = rz_row(op->x, t);
    float *y = rz_row(op->y, t);
    for (int h = 0; h < op->n_repeat; h++, x += op->x_step, y += op->y_step) memcpy(y, x, op->n * sizeof(float));
}

/* Quantizes the heads of a row, one after another: the first planes of all heads, then the second planes. */
void rz_run_quantize_heads(struct rz_worker *w, const struct rz_op *op, size_t t)
{
    const float *x = rz_row(op->x, t);
    int block = op->act32 ? 32 : 256;
    size_t stride = op->act32 ? op->act32_stride : op->act256_stride;
    char *q_rows = (op->act32 ? op->act32 : op->act256) + t * stride;
    for (int h = 0; h < op->n_repeat; h++, x += op->n, q_rows += rz_act_bytes(op->n, block))
        rz_quantize(w, block, x, op->n, q_rows, stride, (float *)w->scratch);
}

/* The number of tokens of an item; an item is one head for these tokens. */
static size_t item_tokens(const struct rz_worker *w, const struct rz_op *op)
{
    return rz_token_share(rz_n_rows(w, op), rz_gemm_tokens_of(&op->weight[0], op->n));
}

size_t rz_items_per_head_linear(const struct rz_worker *w, const struct rz_op *op)
{
    return (size_t)op->n_weight * rz_ceil_div(rz_n_rows(w, op), item_tokens(w, op));
}

void rz_run_per_head_linear(struct rz_worker *w, const struct rz_op *op, size_t item)
{
    const struct rz_weight *m = &op->weight[item % (size_t)op->n_weight];
    size_t tokens = item_tokens(w, op), t0 = item / (size_t)op->n_weight * tokens;
    rz_multiply(w, m, op->n, 0, m->n_row, t0, RZ_MIN(t0 + tokens, rz_n_rows(w, op)));
}
