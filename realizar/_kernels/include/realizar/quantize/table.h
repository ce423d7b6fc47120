/* The quantizers of an ISA level: float32 rows to blocks of a format. All levels give the same bytes. */
#ifndef REALIZAR_QUANTIZE_TABLE_H
#define REALIZAR_QUANTIZE_TABLE_H

#include <stdatomic.h>
#include <stddef.h>

#include "realizar/table.h"

/* Writes the blocks of a row of k finite elements, a multiple of the format's. w: k importances >= 0, or NULL. Returns
 * nonzero if a scale is too large for a half float. */
typedef int rz_quantize_fn(const float *x, const float *w, size_t k, void *out);

/* The bits of the largest magnitude of k floats; those of infinity and NaN are the largest of all. */
typedef uint32_t rz_largest_fn(const float *x, size_t k);

struct rz_quantizers {
    rz_quantize_fn *format[RZ_N_FORMATS];
    rz_largest_fn *largest;
};

extern const struct rz_quantizers rz_quantizers_scalar;
#if defined(__x86_64__)
extern const struct rz_quantizers rz_quantizers_avx2, rz_quantizers_avx512;
#endif

/* Those for the ISA level of this name. */
const struct rz_quantizers *rz_quantizers_of(const char *isa);

enum { RZ_QUANTIZE_NOT_FINITE = 1, RZ_QUANTIZE_TOO_LARGE = 2 };

/* The largest magnitude that is quantized to a format: beyond it, sums of squares would be infinite, or the
 * scale of NVFP4 too large. */
float rz_quantize_limit(int format);

/* The rows of one tensor: n_row rows of k elements, of which each `rows_per_w` in turn share a row of importances. */
struct rz_quantize_job {
    rz_dequantize_fn *read; /* the rows to floats; NULL: they are floats */
    rz_largest_fn *largest;
    rz_quantize_fn *write; /* NULL: only checks that all are finite */
    const char *from;
    char *to;
    size_t n_row, k, from_stride, to_stride;
    const float *w; /* [n_row / rows_per_w][k], or NULL */
    size_t rows_per_w;
    float limit;    /* rz_quantize_limit */
    float *scratch; /* [n_threads][k] */
    atomic_size_t next;
    atomic_int problems; /* RZ_QUANTIZE_* */
};

/* A worker's share: a rz_pool_fn over a struct rz_quantize_job whose next and problems are 0. */
void rz_quantize_run(void *job, int worker, int n_threads);

#endif
