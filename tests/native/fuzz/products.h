/* Fuzzing of the matrix products and of their inputs: dequantize, gemv, gemm, matmul_f32, quantize_act. */
#ifndef REALIZAR_FUZZ_PRODUCTS_H
#define REALIZAR_FUZZ_PRODUCTS_H

#include "weights.h"

static void quantize(const struct rz_kernels *kernels, int block, const float *x, size_t k, void *act_row)
{
    (block == 32 ? kernels->quantize_act_32 : kernels->quantize_act_256)(x, k, act_row);
}

static struct product {
    int f, wild;
    size_t k, w_stride, n_rows, r0, r1, n, x_stride, ldy;
    const char *w;
    const char *x;
    float *y;
    void *scratch;
} p;
static struct room w_room, x_room, y_room, scratch_room;
static float product_y[1 << 16], weights[1 << 16];

/* A shape: rows r0 to r1 of up to 40, up to 40 tokens, k with odd tails. */
static void random_shape(void)
{
    p.f = between(0, RZ_N_FORMATS - 1);
    const struct format *format = &formats[p.f];
    p.wild = one_in(2);
    p.k = (size_t)(format->elements == 1 ? between(1, 200)
                                         : format->elements * between(1, format->elements == 32 ? 13 : 4));
    p.w_stride = p.k / (size_t)format->elements * (size_t)format->bytes;
    p.n_rows = (size_t)between(1, 40);
    p.r0 = one_in(3) ? (size_t)between(0, (int)p.n_rows - 1) : 0;
    p.r1 = one_in(3) ? (size_t)between((int)p.r0 + 1, (int)p.n_rows) : p.n_rows;
    p.n = (size_t)(one_in(3) ? between(1, 3) : between(1, 40));
    p.ldy = p.n_rows + (size_t)between(0, 5);
    char *w = place(&w_room, p.n_rows * p.w_stride, p.f == RZ_F32 ? 4 : p.f == RZ_F16 || p.f == RZ_BF16 ? 2 : 1);
    random_weights(p.f, w, p.n_rows * p.k / (size_t)format->elements, p.wild);
    p.w = w;
    p.scratch = place(&scratch_room, (rz_gemm_scratch(p.k) + 63) / 64 * 64, 64);
}

/* Quantized activation rows of the tokens; block 0: float rows. */
static void random_tokens(int block)
{
    static float row[4096];
    p.x_stride = block ? rz_act_bytes(p.k, block) : (p.k + (size_t)between(0, 3)) * sizeof(float);
    size_t size = block ? p.n * p.x_stride : (p.n - 1) * p.x_stride + p.k * sizeof(float);
    char *x = place(&x_room, size, block ? 64 : 4);
    for (size_t t = 0; t < p.n; t++) {
        random_floats(row, p.k, p.wild && one_in(3) ? 3 : 0);
        if (block)
            quantize(&levels[0], block, row, p.k, x + t * p.x_stride);
        else
            memcpy(x + t * p.x_stride, row, p.k * sizeof(float));
    }
    p.x = x;
}

static size_t n_y(void) { return (p.n - 1) * p.ldy + p.r1; }

static void run_product(rz_matmul_fn *product)
{
    p.y = place_output(&y_room, n_y() * sizeof(float), sizeof(float));
    rz_forget_panels(p.scratch);
    product(p.w, p.w_stride, p.k, p.r0, p.r1, p.x, p.x_stride, p.n, p.y, p.ldy, p.scratch);
    check_margins(&y_room, "y");
    check_margins(&scratch_room, "scratch");
}

/* Within 4 ULP of sum |w x|, the documented bound. */
static void check_product_in_float64(int block)
{
    for (size_t r = p.r0; r < p.r1; r++) {
        levels[0].format[p.f].dequantize(p.w + r * p.w_stride, p.k, weights);
        for (size_t t = 0; t < p.n; t++) {
            const char *x = p.x + t * p.x_stride;
            double sum = 0, size = 0;
            for (size_t i = 0; i < p.k; i++) {
                double one = weights[i];
                one *= block ? (double)((const int8_t *)x)[i] *
                                   ((const float *)(x + rz_act_d_offset(p.k)))[i / (size_t)block]
                             : (double)((const float *)x)[i];
                sum += one, size += fabs(one);
            }
            check_near(product_y[t * p.ldy + r], sum, 4 * ULP * size, "product", t * p.ldy + r);
        }
    }
}

static void fuzz_activations(int block)
{
    random_tokens(block);
    const char *shapes[] = {"gemv", "gemm", "matmul_f32"};
    for (int shape = block == formats[p.f].act_block ? 0 : 2; shape < 3; shape++) {
        if (shape == 2 && block) continue;
        for (size_t level = 0; level < n_levels; level++) {
            const struct rz_format_kernels *kernels = &levels[level].format[p.f];
            rz_matmul_fn *product[] = {kernels->gemv, kernels->gemm, kernels->matmul_f32};
            TRY("%s %s %s, k %zu, rows %zu to %zu of %zu, %zu tokens, %s", levels[level].name, shapes[shape],
                formats[p.f].name, p.k, p.r0, p.r1, p.n_rows, p.n, p.wild ? "wild" : "tame");
            run_product(product[shape]);
            if (level == 0) {
                memcpy(product_y, p.y, n_y() * sizeof(float));
                if (!p.wild) check_product_in_float64(block);
            }
            check_floats(p.y, product_y, n_y(), "y");
        }
    }
}

static void fuzz_dequantize(void)
{
    for (size_t level = 0; level < n_levels; level++) {
        TRY("%s dequantize %s, k %zu", levels[level].name, formats[p.f].name, p.k);
        float *y = place_output(&y_room, p.k * sizeof(float), sizeof(float));
        levels[level].format[p.f].dequantize(p.w + (p.n_rows - 1) * p.w_stride, p.k, y);
        check_margins(&y_room, "y");
        if (level == 0) memcpy(weights, y, p.k * sizeof(float));
        check_floats(y, weights, p.k, "y");
    }
}

static void fuzz_products(void)
{
    random_shape();
    fuzz_dequantize();
    if (formats[p.f].act_block) fuzz_activations(formats[p.f].act_block);
    fuzz_activations(0);
}

/* q and the sums byte by byte, d as floats; in float64 no element is off by more than half a step. */
static void check_act_row(const char *got, const char *want, const float *x, size_t k, int block)
{
    size_t s_at = rz_act_s_offset(k, block), s_bytes = k / rz_act_group(block) * sizeof(int16_t);
    const float *d = (const float *)(want + rz_act_d_offset(k));
    check_bytes(got, want, k, "q");
    check_floats((const float *)(got + rz_act_d_offset(k)), d, k / (size_t)block, "d");
    check_bytes(got + s_at, want + s_at, s_bytes, "sums");
    for (size_t i = s_at + s_bytes; i < rz_act_bytes(k, block); i++)
        if ((unsigned char)got[i] != CANARY) fail("activation row: byte %zu after the sums is written", i);
    for (size_t i = 0; i < k; i++) {
        double step = d[i / (size_t)block], q = ((const int8_t *)want)[i];
        if (isfinite(step)) check_near(q * step, x[i], fabs(step) * (0.5 + 1e-4) + 0x1p-100, "q * d", i);
    }
}

static void fuzz_quantize_act(void)
{
    static char expected[8192];
    int block = one_in(2) ? 32 : 256;
    size_t k = (size_t)(block * between(1, block == 32 ? 13 : 4)), bytes = rz_act_bytes(k, block);
    float *x = place(&x_room, k * sizeof *x, sizeof *x);
    random_floats(x, k, one_in(2) ? 0 : 2);
    for (size_t level = 0; level < n_levels; level++) {
        TRY("%s quantize_act_%d, k %zu", levels[level].name, block, k);
        char *act_row = place_output(&y_room, bytes, 64);
        quantize(&levels[level], block, x, k, act_row);
        check_margins(&y_room, "activation row");
        if (level == 0) memcpy(expected, act_row, bytes);
        check_act_row(act_row, expected, x, k, block);
    }
}

#endif
