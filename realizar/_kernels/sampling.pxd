"""Candidates for other compiled modules: the fields, and the functions that samplers use."""

from libc.math cimport INFINITY
from libc.stdint cimport int32_t, uint32_t, uint64_t

from realizar._kernels.table cimport RZ_LOGITS_BLOCK, rz_kernels


cdef extern from "realizar/logits.h" nogil:
    int rz_moments(const float *x, float peak, double *sum, double *squares)
    bint rz_is_better(float x, int32_t i, float y, int32_t j)
    int rz_partition(float *x, int32_t *ids, int lo, int hi)
    void rz_select(float *x, int32_t *ids, int lo, int hi, int k)
    void rz_sort(float *x, int32_t *ids, int lo, int hi)


# Some samplers depend on the order of the candidates, but only on the first ones. They set the candidates above a cut
# aside (copy their logits and ids), lower the cut until the other candidates cannot change the result, and sort only as
# many of the set-aside candidates as they need: some hundreds of 150,000.

cdef inline int more(int done, int n) noexcept nogil:
    """Returns how many of n candidates to sort next."""
    return min(n, 4 * done + RZ_LOGITS_BLOCK)


cdef inline double fallen(double peak, double reach) noexcept nogil:
    """Returns the cut at this distance below the peak; from a distance of 1000 on it includes all candidates."""
    return peak - reach if reach < 1e3 else -INFINITY


cdef class Candidates:
    cdef readonly int n_vocab, n
    cdef const rz_kernels *kernels
    cdef const float[::1] source  # the caller's logits, kept alive
    cdef const float *x           # the candidates' logits: the caller's, or own
    cdef float *own
    cdef int32_t *ids             # of the candidates, unless is_dense: then candidate i is token i
    cdef bint is_dense
    cdef float peak               # the greatest logit
    cdef double total             # the sum of all e**(x - peak)
    cdef float *block_max
    cdef float *block_sum         # of e**(x - block_max) ...
    cdef float *block_weight      # ... which has to be multiplied with this: e**(block_max - peak)
    cdef float *block_x           # one number for each block
    cdef int32_t *block_ids       # for sorting the blocks
    cdef float *spare_x           # set-aside candidates, or weights
    cdef int32_t *spare_ids
    cdef int32_t *count           # count of each token in the history; zero between calls
    cdef uint64_t seed, position  # these determine the random numbers
    cdef uint32_t draw_number, n_uniforms
    cdef readonly double drawn_p  # probability of the last drawn candidate

    cdef int32_t _id(self, int i) noexcept nogil
    cdef int _n_blocks(self) noexcept nogil
    cdef int _block_end(self, int b) noexcept nogil
    cdef const float *_block(self, int b, float *padded) noexcept nogil
    cdef void _scan(self) noexcept nogil
    cdef void _rescan(self, const int32_t *ids, int n) noexcept nogil
    cdef void _sum(self) noexcept nogil
    cdef void _to_own(self) noexcept nogil
    cdef void _keep_first(self, int n) noexcept nogil
    cdef void _keep_spare(self, int n) noexcept nogil
    cdef void _keep_from(self, float cut) noexcept nogil
    cdef int _gather(self, float cut, float *x, int32_t *ids) noexcept nogil
    cdef double _weigh(self, const float *x, int n) noexcept nogil
    cdef void _greedy(self) noexcept nogil
    cdef float _below_best(self, int k) noexcept nogil
    cdef void _top_k(self, int k) noexcept nogil
    cdef int _take(self, const float *x, int n, double enough, double *mass) noexcept nogil
    cdef int _heaviest(self, int n, double enough) noexcept nogil
    cdef void _top_p(self, double p) noexcept nogil
    cdef void _temperature(self, float t) noexcept nogil
    cdef int _draw(self, double u) noexcept nogil
