"""Pool and Program, for the modules that append ops to a program."""

from libc.stdint cimport int32_t

from realizar._kernels.exec cimport rz_op, rz_pool, rz_pool_fn, rz_program, rz_rope, rz_rows, rz_weight

cdef class Pool:
    cdef rz_pool *pool

    cdef int run(self, rz_pool_fn *work, void *arg) noexcept nogil

cdef class Program:
    cdef Pool pool
    cdef rz_program program
    cdef const unsigned char[::1] arena
    cdef size_t n_batch, capacity, max_k, max_row, max_head, max_scratch
    cdef bint f32  # activations stay floats for all weight formats
    cdef list keep
    cdef object lock, scratch

    # checked addresses: rows of n floats, quantized rows of n elements, n floats, n integers, a weight
    cdef void *at(self, size_t offset, size_t n_bytes) except NULL
    cdef rz_rows rows(self, view, size_t n) except *
    cdef char *q_rows(self, view, size_t n, int block) except? NULL
    # activation block of a format: elements of a block of its quantized inputs; 0: its inputs are floats
    cdef int product_block(self, str format) except -1
    cdef const float *floats(self, array, size_t n) except? NULL
    cdef const int32_t *ints(self, array, size_t n) except NULL
    cdef const char *weight(self, array, size_t n_bytes, size_t *n_row, size_t *stride) except NULL
    # a weight of k columns with its kernels; its input, quantized rows of a block or floats
    cdef void product(self, rz_weight *m, str format, data, size_t k) except *
    cdef void product_input(self, rz_weight *m, size_t k, int block, x, act32, act256) except *
    # appends a zeroed op; the pointer is valid until the next call
    cdef rz_op *new_op(self, int code, size_t n) except NULL
    cdef rz_rope *new_rope(self, rope) except NULL
