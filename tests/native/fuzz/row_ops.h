/* Fuzzing of the kernels on rows of floats: norms, elementwise, softmax, rope, convolution, mixes of rows. */
#ifndef REALIZAR_FUZZ_ROW_OPS_H
#define REALIZAR_FUZZ_ROW_OPS_H

#include "common.h"

/* The inputs of one call: a row of n numbers, for some kernels two more. */
static struct row_call {
    const float *x, *w, *b; /* w, b: NULL for bare norms */
    size_t n;
    float number;
} row;
static struct room row_rooms[4];

enum { N_TAP = 4 };

/* Tap j of the convolution starts at channel row j of x, so that all taps lie inside x. */
static void taps(const float **rows, size_t *n_tap, size_t *n_channel)
{
    *n_tap = row.n < N_TAP ? row.n : N_TAP;
    *n_channel = row.n / *n_tap;
    for (size_t j = 0; j < *n_tap; j++) rows[j] = row.x + j * *n_channel;
}

static void do_rms_norm(const struct rz_kernels *k, float *y) { k->rms_norm(row.x, row.w, row.number, row.n, y); }
static void do_layer_norm(const struct rz_kernels *k, float *y)
{
    k->layer_norm(row.x, row.w, row.b, row.number, row.n, y);
}
static void do_add(const struct rz_kernels *k, float *y) { k->add(row.x, row.w, row.n, y); }
static void do_mul(const struct rz_kernels *k, float *y) { k->mul(row.x, row.w, row.n, y); }
static void do_scale(const struct rz_kernels *k, float *y) { k->scale(row.x, row.number, row.n, y); }
static void do_silu(const struct rz_kernels *k, float *y) { k->silu(row.x, row.n, y); }
static void do_gelu(const struct rz_kernels *k, float *y) { k->gelu(row.x, row.n, y); }
static void do_gelu_erf(const struct rz_kernels *k, float *y) { k->gelu_erf(row.x, row.n, y); }
static void do_sigmoid(const struct rz_kernels *k, float *y) { k->sigmoid(row.x, row.n, y); }
static void do_relu(const struct rz_kernels *k, float *y) { k->relu(row.x, row.n, y); }
static void do_softplus(const struct rz_kernels *k, float *y) { k->softplus(row.x, row.n, y); }
static void do_elu(const struct rz_kernels *k, float *y) { k->elu(row.x, row.n, y); }
static void do_clamp(const struct rz_kernels *k, float *y) { k->clamp(row.x, fabsf(row.number), row.n, y); }
static void do_softcap(const struct rz_kernels *k, float *y) { k->softcap(row.x, row.number, row.n, y); }
static void do_gelu_mul(const struct rz_kernels *k, float *y) { k->gelu_mul(row.x, row.w, row.n, y); }
static void do_gelu_erf_mul(const struct rz_kernels *k, float *y) { k->gelu_erf_mul(row.x, row.w, row.n, y); }
static void do_silu_mul(const struct rz_kernels *k, float *y) { k->silu_mul(row.x, row.w, row.n, y); }
static void do_swiglu_oai(const struct rz_kernels *k, float *y) { k->swiglu_oai(row.x, row.w, row.n, y); }
static void do_decay(const struct rz_kernels *k, float *y) { k->decay(row.x, row.w, row.b, 0, row.n, y); }
static void do_decay_bounded(const struct rz_kernels *k, float *y) { k->decay(row.x, row.w, row.b, -5, row.n, y); }
static void do_mix(const struct rz_kernels *k, float *y) { k->mix(row.x, row.w, row.b, row.n, y); }
static void do_softmax(const struct rz_kernels *k, float *y) { k->softmax(row.x, row.n, y); }
static void do_rope_neox(const struct rz_kernels *k, float *y) { k->rope_neox(row.x, row.w, row.b, row.n / 2, y); }
static void do_rope_norm(const struct rz_kernels *k, float *y) { k->rope_norm(row.x, row.w, row.b, row.n / 2, y); }

static void do_conv_step(const struct rz_kernels *k, float *y)
{
    const float *rows[N_TAP];
    size_t n_tap, n_channel;
    taps(rows, &n_tap, &n_channel);
    k->conv_step(rows, row.w, n_channel, NULL, n_tap, n_channel, y);
}

/* In float64: the value of element i, and the size that its bound is relative to. */
struct exact {
    double value, size;
};

static double mean_of(double (*term)(double), double shift)
{
    double sum = 0;
    for (size_t i = 0; i < row.n; i++) sum += term(row.x[i] - shift);
    return sum / (double)row.n;
}

static double same(double x) { return x; }
static double square(double x) { return x * x; }

static struct exact at_rms_norm(size_t i)
{
    double y = row.x[i] / sqrt(mean_of(square, 0) + row.number) * (row.w ? row.w[i] : 1);
    return (struct exact){y, fabs(y)};
}

static struct exact at_layer_norm(size_t i)
{
    double mean = mean_of(same, 0), r = 1 / sqrt(mean_of(square, mean) + row.number), w = row.w ? row.w[i] : 1;
    double b = row.b ? row.b[i] : 0;
    return (struct exact){(row.x[i] - mean) * r * w + b, (fabs(row.x[i]) + fabs(mean)) * r * fabs(w) + fabs(b)};
}

static struct exact at_add(size_t i)
{
    double y = (double)row.x[i] + row.w[i];
    return (struct exact){y, fabs(y)};
}

static struct exact product_of(double a, double b) { return (struct exact){a * b, fabs(a * b)}; }
static struct exact at_mul(size_t i) { return product_of(row.x[i], row.w[i]); }
static struct exact at_scale(size_t i) { return product_of(row.x[i], row.number); }
static struct exact at_silu(size_t i) { return product_of(row.x[i], 1 / (1 + exp(-(double)row.x[i]))); }
static struct exact at_silu_mul(size_t i) { return product_of(row.w[i], at_silu(i).value); }

static struct exact at_swiglu_oai(size_t i)
{
    double gate = fmin(row.x[i], 7), up = fmax(fmin(row.w[i], 7), -7);
    double y = gate / (1 + exp(-1.702 * gate)) * (up + 1);
    return (struct exact){y, fabs(y) + fabs(gate) * 1e-3};
}

/* 0.5 (1 + tanh(z)) is 1 / (1 + exp(-2 z)), which keeps its digits where tanh is near -1. */
static struct exact at_gelu(size_t i)
{
    double x = row.x[i], z = sqrt(2 / acos(-1.0)) * (x + 0.044715 * x * x * x);
    return product_of(x, 1 / (1 + exp(-2 * z)));
}

static struct exact at_gelu_mul(size_t i) { return product_of(row.w[i], at_gelu(i).value); }

/* The bound is relative to |x|, which neither term of the kernel's formula exceeds. */
static struct exact at_gelu_erf(size_t i)
{
    double x = row.x[i];
    return (struct exact){0.5 * x * erfc(-x / sqrt(2)), fabs(x)};
}

static struct exact at_gelu_erf_mul(size_t i)
{
    return (struct exact){row.w[i] * at_gelu_erf(i).value, fabs((double)row.w[i] * row.x[i])};
}

static struct exact at_sigmoid(size_t i) { return product_of(1, 1 / (1 + exp(-(double)row.x[i]))); }
static struct exact at_relu(size_t i) { return product_of(1, row.x[i] > 0 ? row.x[i] : 0); }
static struct exact at_softplus(size_t i)
{
    double x = row.x[i];
    return product_of(1, x > 0 ? x + log1p(exp(-x)) : log1p(exp(x)));
}

static struct exact at_elu(size_t i) { return product_of(1, row.x[i] > 0 ? row.x[i] : expm1(row.x[i])); }
static struct exact at_clamp(size_t i)
{
    return product_of(1, fmin(fmax(row.x[i], -fabsf(row.number)), fabsf(row.number)));
}
static struct exact at_softcap(size_t i) { return product_of(row.number, tanh((double)row.x[i] / row.number)); }

/* exp of a number with a relative error of a few roundings. */
static struct exact exp_of(double z)
{
    double y = exp(z);
    return (struct exact){y, y * (1 + fabs(z))};
}

static struct exact at_decay(size_t i)
{
    double step = (double)row.x[i] + row.b[i];
    return exp_of(row.w[i] * (fmax(step, 0) + log1p(exp(-fabs(step)))));
}

static struct exact at_decay_bounded(size_t i)
{
    return exp_of(-5 / (1 + exp(-row.w[i] * ((double)row.x[i] + row.b[i]))));
}

static struct exact at_mix(size_t i)
{
    double step = (double)row.w[i] - row.x[i], moved = row.b[i] * step;
    return (struct exact){row.x[i] + moved, fabs(row.x[i]) + fabs(moved)};
}

static struct exact at_softmax(size_t i)
{
    double sum = 0;
    for (size_t j = 0; j < row.n; j++) sum += exp((double)row.x[j] - row.x[i]);
    return (struct exact){1 / sum, 1 / sum};
}

/* Element `second` of the pair (a, b) turned by pair's angle. */
static struct exact turned(double a, double b, size_t pair, int second)
{
    double cos = row.w[pair], sin = row.b[pair];
    double one = second ? a * sin : a * cos, other = second ? b * cos : -b * sin;
    return (struct exact){one + other, fabs(one) + fabs(other)};
};

static struct exact at_rope_neox(size_t i)
{
    size_t half = row.n / 2, pair = i % half;
    return turned(row.x[pair], row.x[pair + half], pair, i >= half);
}

static struct exact at_rope_norm(size_t i) { return turned(row.x[i / 2 * 2], row.x[i / 2 * 2 + 1], i / 2, i % 2); }

static struct exact at_conv_step(size_t i)
{
    const float *rows[N_TAP];
    size_t n_tap, n_channel;
    struct exact sum = {0, 0};
    taps(rows, &n_tap, &n_channel);
    for (size_t j = 0; j < n_tap; j++) {
        struct exact one = product_of(row.w[j * n_channel + i], rows[j][i]);
        sum.value += one.value, sum.size += one.size;
    }
    return sum;
}

/* Bounds: those of docs/kernels.md; one rounding for a single operation, a few for exp and functions of it. */
static const struct row_op {
    const char *name;
    void (*run)(const struct rz_kernels *, float *);
    struct exact (*exact)(size_t);
    double bound;
    int pairs, taps, in_place; /* works on pairs; on taps; y may be x */
} row_ops[] = {
    {"rms_norm", do_rms_norm, at_rms_norm, 1e-4, 0, 0, 0},
    {"layer_norm", do_layer_norm, at_layer_norm, 1e-4, 0, 0, 0},
    {"add", do_add, at_add, ULP, 0, 0, 1},
    {"mul", do_mul, at_mul, ULP, 0, 0, 1},
    {"scale", do_scale, at_scale, ULP, 0, 0, 1},
    {"silu", do_silu, at_silu, 1e-6, 0, 0, 1},
    {"gelu", do_gelu, at_gelu, 1e-5, 0, 0, 1},
    {"gelu_erf", do_gelu_erf, at_gelu_erf, 1e-6, 0, 0, 1},
    {"sigmoid", do_sigmoid, at_sigmoid, 1e-6, 0, 0, 1},
    {"relu", do_relu, at_relu, ULP, 0, 0, 1},
    {"softplus", do_softplus, at_softplus, 1e-6, 0, 0, 1},
    {"elu", do_elu, at_elu, 1e-6, 0, 0, 1},
    {"clamp", do_clamp, at_clamp, ULP, 0, 0, 1},
    {"softcap", do_softcap, at_softcap, 1e-6, 0, 0, 1},
    {"gelu_mul", do_gelu_mul, at_gelu_mul, 1e-5, 0, 0, 1},
    {"gelu_erf_mul", do_gelu_erf_mul, at_gelu_erf_mul, 1e-6, 0, 0, 1},
    {"swiglu_oai", do_swiglu_oai, at_swiglu_oai, 1e-6, 0, 0, 1},
    {"silu_mul", do_silu_mul, at_silu_mul, 1e-6, 0, 0, 1},
    {"decay", do_decay, at_decay, 1e-6, 0, 0, 1},
    {"decay_bounded", do_decay_bounded, at_decay_bounded, 1e-6, 0, 0, 1},
    {"mix", do_mix, at_mix, 2 * ULP, 0, 0, 1},
    {"softmax", do_softmax, at_softmax, 1e-3, 0, 0, 1},
    {"rope_neox", do_rope_neox, at_rope_neox, 2 * ULP, 1, 0, 1},
    {"rope_norm", do_rope_norm, at_rope_norm, 2 * ULP, 1, 0, 1},
    {"conv_step", do_conv_step, at_conv_step, 4 * ULP, 0, 1, 0},
};

static const float *random_row(struct room *room, size_t n, int wild)
{
    float *x = place(room, n * sizeof *x, sizeof *x);
    random_floats(x, n, wild);
    return x;
}

static void fuzz_row_ops(void)
{
    static float expected[1024], original[1024];
    const struct row_op *op = &row_ops[between(0, (int)(sizeof row_ops / sizeof *row_ops) - 1)];
    int wild = one_in(2) ? between(1, 20) : 0, in_place = op->in_place && one_in(2),
        bare = one_in(4) && !op->in_place && !op->taps;
    size_t n = (size_t)(one_in(8) ? between(1, 1000) : between(1, 70));
    if (op->pairs) n = (n + 1) / 2 * 2;
    size_t n_w = op->pairs ? n / 2 : n, n_y = op->taps ? n / (n < N_TAP ? n : N_TAP) : n;
    const float *x = random_row(&row_rooms[0], n, wild);
    memcpy(original, x, n * sizeof *x);
    row = (struct row_call){x, random_row(&row_rooms[1], n_w, wild), random_row(&row_rooms[2], n_w, wild), n, 1e-5f};
    if (bare) row.w = row.b = NULL;
    for (size_t level = 0; level < n_levels; level++) {
        TRY("%s %s, n %zu, %d %% wild%s%s", levels[level].name, op->name, n, wild, bare ? ", bare" : "",
            in_place ? ", in place" : "");
        float *y = place_output(&row_rooms[3], n_y * sizeof *y, sizeof *y);
        row.x = in_place ? memcpy(y, original, n * sizeof *y) : x;
        op->run(&levels[level], y);
        check_margins(&row_rooms[3], "y");
        if (level == 0) memcpy(expected, y, n_y * sizeof *y);
        check_floats(y, expected, n_y, "y");
    }
    row.x = original;
    for (size_t i = 0; i < n_y && !wild; i++) {
        struct exact exact = op->exact(i);
        check_near(expected[i], exact.value, op->bound * exact.size + 0x1p-126, op->name, i);
    }
}

#endif
