"""Quantizes the rows of a tensor with a pool's threads: from any format to any that files have (src/quantize.c)."""

import numpy as np

from libc.string cimport strerror

from realizar._kernels.exec cimport rz_pool_fn
from realizar._kernels.plan cimport Pool
from realizar._kernels.rows import row_bytes
from realizar._kernels.table cimport kernels

cdef extern from *:
    """
    #include "realizar/quantize/table.h"

    #define QUANTIZED_NAME(NAME, lower, id, elements, bytes, act) #NAME,
    static const char *const quantized_names[RZ_N_FORMATS] = {RZ_FORMATS(QUANTIZED_NAME)};
    """
    const char *quantized_names[]

cdef extern from "realizar/quantize/table.h" nogil:
    enum:
        RZ_N_FORMATS
        RZ_QUANTIZE_NOT_FINITE
        RZ_QUANTIZE_TOO_LARGE
    ctypedef void rz_dequantize_fn(const void *w, size_t k, float *y)
    ctypedef int rz_quantize_fn(const float *x, const float *w, size_t k, void *out)
    ctypedef unsigned int rz_largest_fn(const float *x, size_t k)
    struct rz_quantizers:
        rz_quantize_fn **format
        rz_largest_fn *largest
    struct rz_format_kernels:
        rz_dequantize_fn *dequantize
    struct read_kernels "rz_kernels":
        const char *name
        rz_format_kernels *format
    ctypedef struct atomic_size_t:
        pass
    ctypedef struct atomic_int:
        pass
    struct rz_quantize_job:
        rz_dequantize_fn *read
        rz_quantize_fn *write
        rz_largest_fn *largest
        const char *source "from"
        char *to
        size_t n_row, k, from_stride, to_stride
        const float *w
        size_t rows_per_w
        float limit
        float *scratch
        atomic_size_t next
        atomic_int problems
    const rz_quantizers *rz_quantizers_of(const char *isa)
    float rz_quantize_limit(int format)
    void rz_quantize_run(void *job, int worker, int n_threads)
    void atomic_init(void *object, size_t value)
    int atomic_load(atomic_int *object)

_INDEX = {quantized_names[i].decode(): i for i in range(RZ_N_FORMATS)}

# Formats that rows can be quantized to.
TARGETS = tuple([name for name in _INDEX if rz_quantizers_of(b"scalar").format[_INDEX[name]] != NULL])


def quantize(Pool pool not None, data, str source not None, str target not None, size_t k,
             importances=None, str isa=None):
    """Quantize rows.

    Parameters
    ----------
    pool : Pool
    data : uint8[n, row_bytes]
        Rows as stored in a file.
    source, target : str
        Their format, and that to write, one of `TARGETS`.
    k : int
        Elements of a row; a multiple of the blocks of both formats.
    importances : float32[n_w, k], optional
        How much the squared error of each column counts, >= 0; the rows are n_w equal parts, each with its own.
    isa : str, optional
        ISA level; the current one by default. All give the same bytes.

    Returns
    -------
    uint8[n, row_bytes]

    Raises
    ------
    ValueError
        If a format, shape or type does not match, or a value is infinite, NaN, or too large for a half float as scale.
    OSError
        If the threads cannot be started.
    """
    if source not in _INDEX or target not in TARGETS:
        raise ValueError(f"no quantizer from {source!r} to {target!r}")
    cdef const unsigned char[:, ::1] x = _rows(data, row_bytes(source, k))
    cdef const float[:, ::1] w
    cdef unsigned char[:, ::1] out
    cdef rz_quantize_job job
    made = np.empty((x.shape[0], row_bytes(target, k)), np.uint8)
    if x.shape[0] == 0:
        return made
    job.w, job.rows_per_w = NULL, 1
    job.limit = rz_quantize_limit(_INDEX[target])
    if importances is not None:
        w = importances
        if w.shape[1] != k or w.shape[0] == 0 or x.shape[0] % w.shape[0]:
            raise ValueError(f"importances of shape {importances.shape} for {x.shape[0]} rows of {k}")
        if not (np.isfinite(importances).all() and np.min(importances) >= 0):
            raise ValueError("importances must be finite and not negative")
        job.w, job.rows_per_w = &w[0, 0], x.shape[0] // w.shape[0]
    out = made
    job.to, job.to_stride = <char *> &out[0, 0], out.shape[1]
    job.write = rz_quantizers_of(kernels(isa).name).format[<int> _INDEX[target]]
    problems = _run(pool, &job, x, source, k, isa)
    if problems & RZ_QUANTIZE_NOT_FINITE:
        raise ValueError(f"a value is infinite or NaN, which {target} cannot represent")
    if problems & RZ_QUANTIZE_TOO_LARGE:
        scales = {"F16": "", "BF16": "", "NVFP4": ": scales are at most 448"}
        why = scales.get(target, ": scales are half floats, at most 65504")
        raise ValueError(f"a value is too large for {target}{why}")
    return made


def are_finite(Pool pool not None, data, str source not None, size_t k):
    """Return whether all values of rows are finite; parameters and errors are those of `quantize`."""
    if source not in _INDEX:
        raise ValueError(f"no format {source!r}")
    cdef const unsigned char[:, ::1] x = _rows(data, row_bytes(source, k))
    cdef rz_quantize_job job
    job.write = NULL
    return x.shape[0] == 0 or not _run(pool, &job, x, source, k, None)


cdef int _run(Pool pool, rz_quantize_job *job, const unsigned char[:, ::1] x, str source, size_t k, str isa) except -1:
    """Fills in what a job reads, and runs it; returns its problems."""
    cdef float[::1] scratch = np.empty(pool.n_threads * k, np.float32)
    cdef const read_kernels *level = <const read_kernels *> kernels(isa)
    cdef int error
    job.source, job.from_stride = <const char *> &x[0, 0], x.shape[1]
    job.largest = rz_quantizers_of(level.name).largest
    job.read = level.format[<int> _INDEX[source]].dequantize
    if source == "F32" and <size_t> job.source % sizeof(float) == 0:
        job.read = NULL
    job.n_row, job.k, job.scratch = x.shape[0], k, &scratch[0]
    with nogil:
        atomic_init(&job.next, 0)
        atomic_init(&job.problems, 0)
        error = pool.run(<rz_pool_fn *> rz_quantize_run, job)
    if error:
        raise OSError(error, f"the worker threads cannot be started: {strerror(error).decode()}")
    return atomic_load(&job.problems)


def _rows(data, n_bytes):
    data = np.asarray(data)
    if data.dtype != np.uint8 or data.ndim != 2 or data.shape[1] != n_bytes:
        raise ValueError(f"data must be uint8 of shape (n, {n_bytes}), not {data.dtype} of shape {data.shape}")
    return np.ascontiguousarray(data)
