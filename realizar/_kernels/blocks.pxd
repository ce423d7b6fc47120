"""LogitBlocks for the candidates, which take over what it has found of their logits."""

from realizar._kernels.plan cimport Pool


cdef class LogitBlocks:
    cdef readonly int n_vocab
    cdef Pool pool
    cdef const float[:, :] logits  # the rows looked at, kept alive
    cdef float[:, ::1] max_
    cdef float[:, ::1] sum_

    cdef Py_ssize_t find(self, const float *x) noexcept nogil
