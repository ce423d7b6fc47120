/* Quantizes the rows of a tensor with all workers: an item is some rows, read to floats and written as blocks. */
#include "realizar/quantize/table.h"
#include "realizar/scalar/half.h"

#include <math.h>
#include <string.h>

/* Elements of an item: some 64 KiB of floats, so that workers seldom wait for each other at the end. */
enum { ITEM_ELEMENTS = 1 << 14 };

const struct rz_quantizers *rz_quantizers_of(const char *isa)
{
#if defined(__x86_64__)
    if (strncmp(isa, "avx512", 6) == 0 || strcmp(isa, "amx") == 0) return &rz_quantizers_avx512;
    if (strncmp(isa, "avx", 3) == 0) return &rz_quantizers_avx2;
#endif
    return &rz_quantizers_scalar;
}

float rz_quantize_limit(int format)
{
    if (format == RZ_NVFP4) return 448 * 6;
    return format == RZ_F32 || format == RZ_BF16 || format == RZ_MXFP4 ? INFINITY : 1e15f;
}

static int quantize_row(const struct rz_quantize_job *job, size_t row, float *scratch)
{
    const char *from = job->from + row * job->from_stride;
    if (job->read) job->read(from, job->k, scratch);
    const float *x = job->read ? scratch : (const float *)from;
    uint32_t most = job->largest(x, job->k);
    if (most >= 0x7f800000) return RZ_QUANTIZE_NOT_FINITE;
    if (!job->write) return 0;
    if (rz_bits_to_f32(most) > job->limit) return RZ_QUANTIZE_TOO_LARGE;
    const float *w = job->w ? job->w + row / job->rows_per_w * job->k : NULL;
    return job->write(x, w, job->k, job->to + row * job->to_stride) ? RZ_QUANTIZE_TOO_LARGE : 0;
}

void rz_quantize_run(void *arg, int worker, int n_threads)
{
    struct rz_quantize_job *job = arg;
    size_t n_rows = job->k < ITEM_ELEMENTS ? ITEM_ELEMENTS / job->k : 1, row;
    float *x = job->scratch + (size_t)worker * job->k;
    (void)n_threads;
    while ((row = atomic_fetch_add_explicit(&job->next, n_rows, memory_order_relaxed)) < job->n_row) {
        size_t end = job->n_row - row < n_rows ? job->n_row : row + n_rows;
        for (; row < end; row++) {
            int problem = quantize_row(job, row, x);
            if (problem) atomic_fetch_or(&job->problems, problem);
        }
    }
}
