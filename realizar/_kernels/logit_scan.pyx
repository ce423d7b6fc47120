"""Summaries of the logit rows of a step, which all samplers use, computed by all worker threads.

One thread would take about as long to read a row of 150,000 logits from the L3 cache as to sample from it; for sixteen
sequences that is several percent of a step.
"""

import numpy as np

from libc.string cimport strerror

from realizar._kernels.exec cimport rz_pool_fn
from realizar._kernels.plan cimport Pool
from realizar._kernels.table cimport RZ_LOGITS_BLOCK, kernels, rz_kernels

cdef extern from "realizar/logit_rows.h" nogil:
    ctypedef struct atomic_size_t:
        pass
    struct rz_logit_rows:
        const rz_kernels *kernels
        const float *x
        size_t n_row, n, ld, n_block
        float *out
        atomic_size_t next
    void rz_logit_rows_run(void *rows, int worker, int n_threads)
    void atomic_init(atomic_size_t *object, size_t value)

cdef Py_ssize_t ONE_THREAD = 2**18  # logits that one thread scans in the time the others need to wake up (35 us)


def summaries(Pool pool not None, const float[:, :] logits not None):
    """Scan rows of logits with a pool's threads.

    Parameters
    ----------
    pool : Pool
    logits : float32 [m, n]
        The elements of a row are contiguous.

    Returns
    -------
    float32 [m, 2, n_blocks]
        For each block of 64 logits, the maximum and the sum of e**(logit - maximum).

    Raises
    ------
    ValueError
        If the rows are empty or not contiguous.
    OSError
        If the threads cannot be started.
    """
    cdef rz_logit_rows rows
    cdef int error = 0
    if logits.shape[1] < 1 or logits.strides[1] != sizeof(float):
        raise ValueError(f"rows of {logits.shape[1]} logits, {logits.strides[1]} bytes apart: must be contiguous")
    found = np.empty((logits.shape[0], 2, (logits.shape[1] + RZ_LOGITS_BLOCK - 1) // RZ_LOGITS_BLOCK), np.float32)
    cdef float[:, :, ::1] out = found
    if not logits.shape[0]:
        return found
    rows.kernels, rows.x, rows.n_row, rows.n = kernels(), &logits[0, 0], logits.shape[0], logits.shape[1]
    rows.ld, rows.n_block = logits.strides[0] // sizeof(float), out.shape[2]
    rows.out = &out[0, 0, 0]
    with nogil:
        atomic_init(&rows.next, 0)
        if logits.shape[0] * logits.shape[1] <= ONE_THREAD:
            rz_logit_rows_run(&rows, 0, 1)
        else:
            error = pool.run(<rz_pool_fn *> rz_logit_rows_run, &rows)
    if error:
        raise OSError(error, f"the worker threads cannot be started: {strerror(error).decode()}")
    return found
