"""The blocks of 64 logits of all rows of a step: what every sampler begins with, by all threads at once.

One thread reads a row of 150 000 logits from the third-level cache in about the time in which its candidates are
sampled; for sixteen sequences that is several percent of a step.
"""

import numpy as np

from libc.string cimport strerror

from realizar._kernels.exec cimport rz_pool_fn
from realizar._kernels.table cimport RZ_LOGITS_BLOCK, kernels, rz_kernels

cdef extern from "realizar/logit_rows.h" nogil:
    ctypedef struct atomic_size_t:
        pass
    struct rz_logit_rows:
        const rz_kernels *kernels
        const float *x
        size_t n_row, n, ld, n_block
        float *max
        float *sum
        atomic_size_t next
    void rz_logit_rows_run(void *rows, int worker, int n_threads)
    void atomic_init(atomic_size_t *object, size_t value)

cdef Py_ssize_t ALONE = 2**18  # logits that one thread looks at before the others have woken up (35 us)


cdef class LogitBlocks:
    """Of each block of 64 logits the greatest and the sum of e**(logit - greatest), for the rows of one step.

    Parameters
    ----------
    pool : Pool
        The threads that look.
    n_vocab : int
    """

    def __cinit__(self, Pool pool not None, int n_vocab):
        if n_vocab < 1:
            raise ValueError(f"n_vocab={n_vocab}: must be at least 1")
        self.pool, self.n_vocab = pool, n_vocab
        self.logits = np.empty((0, n_vocab), np.float32)
        self.max_ = self.sum_ = np.empty((0, (n_vocab + RZ_LOGITS_BLOCK - 1) // RZ_LOGITS_BLOCK), np.float32)

    def fill(self, const float[:, :] logits not None):
        """Look at these rows, float32 [n, n_vocab], and forget those before. They must stay as they are.

        Raises
        ------
        ValueError
            If that is not their shape, or the elements of a row do not lie side by side.
        OSError
            If the threads cannot be started.
        """
        cdef rz_logit_rows rows
        cdef int error = 0
        if logits.shape[1] != self.n_vocab or logits.strides[1] != sizeof(float):
            raise ValueError(f"rows of {logits.shape[1]} logits for a vocabulary of {self.n_vocab}, or not contiguous")
        self.forget()
        if not logits.shape[0]:
            return
        if self.max_.shape[0] < logits.shape[0]:
            self.max_, self.sum_ = np.empty((2, logits.shape[0], self.max_.shape[1]), np.float32)
        rows.kernels, rows.x, rows.n_row, rows.n = kernels(), &logits[0, 0], logits.shape[0], self.n_vocab
        rows.ld, rows.n_block = logits.strides[0] // sizeof(float), self.max_.shape[1]
        rows.max, rows.sum = &self.max_[0, 0], &self.sum_[0, 0]
        with nogil:
            atomic_init(&rows.next, 0)
            if logits.shape[0] * logits.shape[1] <= ALONE:
                rz_logit_rows_run(&rows, 0, 1)
            else:
                error = self.pool.run(<rz_pool_fn *> rz_logit_rows_run, &rows)
        if error:
            raise OSError(error, f"the worker threads cannot be started: {strerror(error).decode()}")
        self.logits = logits

    def forget(self):
        """Know no rows: what they were has been written over."""
        self.logits = self.logits[:0]

    cdef Py_ssize_t find(self, const float *x) noexcept nogil:
        """Which of the rows begins at x; -1 for none."""
        cdef Py_ssize_t i
        for i in range(self.logits.shape[0]):
            if x == &self.logits[i, 0]:
                return i
        return -1
