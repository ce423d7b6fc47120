/* Routing: the experts of a token and their weights, defined by graph/routing.py; an item is a row. */
#include <math.h>
#include <string.h>

#include "realizar/worker.h"

/* Weights are divided by their sum, but at least by this. */
#define SMALLEST_SUM 0x1p-14f

static void gating(const struct rz_worker *w, const struct rz_route *r, const float *logits, size_t n, float *scores)
{
    if (r->gating == RZ_GATING_SOFTMAX)
        w->kernels->softmax(logits, n, scores);
    else if (r->gating == RZ_GATING_SIGMOID)
        w->kernels->sigmoid(logits, n, scores);
    else
        memcpy(scores, logits, n * sizeof *scores);
}

/* Removes the greatest element (the first of equals) and returns its index; 0 if none is above -Inf, so that the result
 * is a valid index for any x. */
static size_t take_greatest(float *x, size_t n, float *value)
{
    size_t best = 0;
    *value = -INFINITY;
    for (size_t i = 0; i < n; i++)
        if (x[i] > *value) *value = x[best = i];
    x[best] = -INFINITY;
    return best;
}

/* Keeps the scores of the n_group_used groups whose n_group_best best scores have the greatest sum; sets the others to
 * -Inf. room: 2 n floats. */
static void limit_groups(const struct rz_route *r, float *scores, size_t n, float *room)
{
    size_t n_group = (size_t)r->n_group, each = n / n_group;
    float *kept = room, *sum = room + n, value;
    memcpy(kept, scores, n * sizeof *kept);
    for (size_t g = 0; g < n_group; g++) {
        take_greatest(scores + g * each, each, &sum[g]);
        for (int i = 1; i < r->n_group_best; i++, sum[g] += value) take_greatest(scores + g * each, each, &value);
    }
    for (size_t i = 0; i < n; i++) scores[i] = -INFINITY;
    for (int i = 0; i < r->n_group_used; i++) {
        size_t first = each * take_greatest(sum, n_group, &value);
        memcpy(scores + first, kept + first, each * sizeof *scores);
    }
}

void rz_run_choose_experts(struct rz_worker *w, const struct rz_op *op, size_t t)
{
    const struct rz_route *r = op->route;
    float *scores = (float *)w->scratch, *ids = rz_row(op->y, t), value;
    gating(w, r, rz_row(op->x, t), op->n, scores);
    if (op->b) w->kernels->add(scores, op->b, op->n, scores);
    if (r->n_group > 1) limit_groups(r, scores, op->n, scores + op->n);
    for (int i = 0; i < r->n_used; i++) ids[i] = (float)take_greatest(scores, op->n, &value);
}

void rz_run_weigh_experts(struct rz_worker *w, const struct rz_op *op, size_t t)
{
    const struct rz_route *r = op->route;
    size_t n_used = (size_t)r->n_used;
    float *scores = (float *)w->scratch, *chosen = scores + op->n, *weights = rz_row(op->y, t), sum = 0;
    gating(w, r, rz_row(op->x, t), op->n, scores);
    for (size_t i = 0; i < n_used; i++) chosen[i] = scores[rz_expert(rz_row(op->x2, t)[i], op->n)];
    if (r->gating == RZ_GATING_SOFTMAX_CHOSEN)
        w->kernels->softmax(chosen, n_used, weights);
    else
        memcpy(weights, chosen, n_used * sizeof *weights);
    for (size_t i = 0; i < n_used; i++) sum += weights[i];
    for (size_t i = 0; r->normalize && i < n_used; i++) weights[i] /= sum > SMALLEST_SUM ? sum : SMALLEST_SUM;
    w->kernels->scale(weights, op->scalar, n_used, weights);
    for (size_t i = 0; op->b && i < n_used; i++) weights[i] *= op->b[rz_expert(rz_row(op->x2, t)[i], op->n)];
}
