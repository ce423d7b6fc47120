/* Every quantizer of every ISA level on random rows next to guard pages, with and without importances.
 *
 * quantizers_harness [ROUNDS [SEED]]: a failure names the formats and the seed of its round; `quantizers_harness 1 SEED`
 * repeats that round. Sources are read by the scalar kernels. */
#include <signal.h>

#include "fuzz/weights.h"
#include "realizar/cpu.h"
#include "realizar/quantize/table.h"

enum { MOST_ELEMENTS = 3 * 20 * 256 };

static struct room rows_room, blocks_room, importances_room;

/* The tensor of one call: n_row rows of k elements in format `from`, to be written in format `to`. */
static struct quantize_call {
    int from, to, n_w; /* rows of importances, 0 for none */
    size_t k, n_row;
    const char *rows;
    const float *w;
} call;

/* What a row of floats holds: numbers of one size, many zeros, equal numbers, denormals, sizes of all kinds, any bits. */
static void random_row_of_floats(float *x, size_t n)
{
    int kind = between(0, 6);
    float size = ldexpf(1, between(-30, 14)), only = size * tame_float();
    for (size_t i = 0; i < n; i++) {
        float v = size * tame_float();
        if (kind == 1) v = one_in(10) ? v : 0;
        if (kind == 2) v = only;
        if (kind == 3) v = (float)between(-9, 9) * 1e-45f;
        if (kind == 4) v = ldexpf(tame_float(), between(-140, 45));
        if (kind == 5) v = one_in(50) ? wild_float() : v;
        if (kind == 6) v = one_in(40) ? 1000 * v : v;
        x[i] = v;
    }
}

static const char *random_rows(void)
{
    size_t n = call.n_row * call.k, blocks = n / (size_t)formats[call.from].elements;
    size_t bytes = blocks * (size_t)formats[call.from].bytes;
    char *rows = place(&rows_room, bytes, call.from == RZ_F32 ? sizeof(float) : 2);
    if (call.from == RZ_F32)
        for (size_t row = 0; row < call.n_row; row++) random_row_of_floats((float *)rows + row * call.k, call.k);
    else
        random_weights(call.from, rows, blocks, one_in(3));
    return rows;
}

/* Importances as the caller checks them: finite, not negative. Some are zero, tiny or huge, or all but one are. */
static const float *random_importances(void)
{
    if (!call.n_w) return NULL;
    size_t n = (size_t)call.n_w * call.k;
    float *w = place(&importances_room, n * sizeof *w, sizeof *w);
    int kind = between(0, 6), only = between(0, (int)n - 1);
    for (size_t i = 0; i < n; i++) {
        float v = expf(1.5f * tame_float());
        if (kind == 1) v = one_in(3) ? 0 : v;
        if (kind == 2) v = 0;
        if (kind == 3) v = ldexpf(v, between(-140, 120));
        if (kind == 4) v = (float)between(0, 9) * 1e-45f;
        if (kind == 5) v = 3.4e38f;
        if (kind == 6) v = (int)i == only ? 1e30f : 0;
        w[i] = v;
    }
    return w;
}

static void random_call(void)
{
    static const int sources[] = {RZ_F32, RZ_F32, RZ_F16, RZ_BF16};
    do call.to = between(0, RZ_N_FORMATS - 1);
    while (!rz_quantizers_scalar.format[call.to]);
    call.from = one_in(4) ? between(0, RZ_N_FORMATS - 1) : sources[between(0, 3)];
    int a = formats[call.from].elements, b = formats[call.to].elements, block = a > b ? a : b;
    call.k = (size_t)(block * (one_in(3) ? 1 : one_in(4) ? between(1, 20) : between(1, 5)));
    call.n_w = one_in(2) ? between(1, 2) : 0;
    call.n_row = (size_t)(call.n_w == 2 ? 2 : between(1, 3));
    call.rows = random_rows();
    call.w = random_importances();
}

/* Quantizes on a level; returns its problems. */
static int run_quantize(const char *isa, char *out)
{
    static float scratch[MOST_ELEMENTS];
    size_t from_row = call.k / (size_t)formats[call.from].elements * (size_t)formats[call.from].bytes;
    size_t to_row = call.k / (size_t)formats[call.to].elements * (size_t)formats[call.to].bytes;
    struct rz_quantize_job job = {
        .read = rz_scalar.format[call.from].dequantize,
        .write = rz_quantizers_of(isa)->format[call.to],
        .largest = rz_quantizers_of(isa)->largest,
        .from = call.rows,
        .to = out,
        .n_row = call.n_row,
        .k = call.k,
        .from_stride = from_row,
        .to_stride = to_row,
        .w = call.w,
        .rows_per_w = call.n_w ? call.n_row / (size_t)call.n_w : 1,
        .limit = rz_quantize_limit(call.to),
        .scratch = scratch,
    };
    rz_quantize_run(&job, 0, 1);
    return atomic_load(&job.problems);
}

/* What a reader of a block sees: finite numbers, no larger than the block allows, and nearer to x than zeros are, or as
 * near as so many levels allow. Errors count by importances over their mean; importances.h says how much those without
 * importance do. */
static void check_block(const float *x, const float *y, const float *w, size_t n)
{
    double most = 0, total = 0, norm = 0, error = 0, largest = 0;
    for (size_t i = 0; i < n; i++) most = fmax(most, fabs(x[i])), total += w ? w[i] : 1;
    for (size_t i = 0; i < n; i++) {
        double weight = (total > 0 ? (w ? w[i] : 1) * ((double)n / total) : 0) + 1e-5;
        double of_zero = weight * x[i] * x[i];
        if (!isfinite(y[i])) fail("element %zu of %g is read as %g", i, (double)x[i], (double)y[i]);
        if (fabs(y[i]) > 4 * most + 1e-4) fail("element %zu of at most %g is read as %g", i, most, (double)y[i]);
        norm += of_zero, largest = fmax(largest, of_zero);
        error += weight * ((double)y[i] - x[i]) * ((double)y[i] - x[i]);
    }
    int bytes = formats[call.to].bytes - (n < 128 ? 4 : 0); /* of codes */
    double step = 2 * most * ldexp(1, -8 * bytes / (int)n), of_steps = (double)n * step * step / 12;
    if (most > 0.01 && error > norm - 0.3 * largest && error > of_steps)
        fail("the squared error is %g, that of zeros %g, and of the largest element %g", error, norm, largest);
}

/* The extreme, or the mean of Q1_0, determines the scales of the others. */
static int uses_importances(int format)
{
    static const int others[] = {RZ_Q8_0, RZ_MXFP4, RZ_Q1_0, RZ_Q2_0, RZ_TQ1_0, RZ_TQ2_0, RZ_NVFP4};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (format == others[i]) return 0;
    return 1;
}

static void check_row(const float *x, const float *y, const float *w)
{
    size_t n = (size_t)formats[call.to].elements;
    if (!uses_importances(call.to)) w = NULL;
    for (size_t i = 0; i < call.k; i += n) check_block(x + i, y + i, w ? w + i : NULL, n);
}

/* Any problem must be one of the row's values. */
static void check_problems(int problems, const float *x, size_t n)
{
    double most = 0;
    int is_finite = 1;
    for (size_t i = 0; i < n; i++) {
        is_finite &= isfinite(x[i]) != 0;
        most = fmax(most, fabs(x[i]));
    }
    if (is_finite == !!(problems & RZ_QUANTIZE_NOT_FINITE))
        fail("problems %d, values %s", problems, is_finite ? "finite" : "not finite");
    if (is_finite && most < fmin(60000, rz_quantize_limit(call.to)) && problems)
        fail("problems %d, but the largest value is %g", problems, most);
}

static void fuzz_quantizers(const char *const *isas, size_t n_isas)
{
    static char expected[MOST_ELEMENTS * sizeof(float)];
    static float x[MOST_ELEMENTS], y[MOST_ELEMENTS];
    int wanted = 0;
    random_call();
    size_t n = call.n_row * call.k, blocks = n / (size_t)formats[call.to].elements;
    size_t bytes = blocks * (size_t)formats[call.to].bytes;
    for (size_t i = 0; i < n_isas; i++) {
        TRY("%s, %s to %s, %zu rows of %zu, %d of importances", isas[i], formats[call.from].name, formats[call.to].name,
            call.n_row, call.k, call.n_w);
        char *out = place_output(&blocks_room, bytes, call.to == RZ_F32 ? sizeof(float) : 2);
        int problems = run_quantize(isas[i], out);
        check_margins(&blocks_room, "blocks");
        if (i == 0) memcpy(expected, out, bytes), wanted = problems;
        if (problems != wanted) fail("problems %d, not %d", problems, wanted);
        if (!problems) check_bytes(out, expected, bytes, "blocks");
    }
    rz_scalar.format[call.from].dequantize(call.rows, n, x);
    check_problems(wanted, x, n);
    if (wanted) return;
    rz_scalar.format[call.to].dequantize(expected, n, y);
    for (size_t row = 0; row < call.n_row; row++) {
        const float *w = call.n_w ? call.w + row * (size_t)call.n_w / call.n_row * call.k : NULL;
        check_row(x + row * call.k, y + row * call.k, w);
    }
}

/* A quantizer has accessed a guard page or other memory outside its arrays. */
static void touched_guard(int number)
{
    (void)number;
    fail("access outside the arrays");
}

int main(int argc, char **argv)
{
    const char *isas[] = {"scalar", "avx2", "avx512"};
    size_t n_isas = 1 + (rz_cpu_runs_avx2() ? 1 + rz_cpu_runs_avx512() : 0);
    long rounds = argc > 1 ? atol(argv[1]) : 1000, seed = argc > 2 ? atol(argv[2]) : 1;
    struct room *rooms[] = {&rows_room, &blocks_room, &importances_room};
    for (size_t i = 0; i < sizeof rooms / sizeof *rooms; i++) *rooms[i] = new_room();
    signal(SIGSEGV, touched_guard);
    signal(SIGBUS, touched_guard);
    for (long round = 0; round < rounds; round++) {
        round_seed = seed + round;
        random_state = (uint64_t)round_seed * 0x9e3779b97f4a7c15u + 1;
        fuzz_quantizers(isas, n_isas);
    }
    return 0;
}
