"""The candidates of one token as other compiled modules see them: what is in them, and what a sampler is made of."""

from libc.stdint cimport int32_t, uint32_t, uint64_t


cdef extern from "realizar/logits.h" nogil:
    enum:
        RZ_LOGITS_BLOCK
    float rz_greatest(const float *x, int *has_nan)
    float rz_exp(float x)
    float rz_weigh(const float *x, float peak, float *w)
    double rz_fall(const float *x, float peak, const float *w)
    int rz_moments(const float *x, float peak, double *sum, double *squares)
    bint rz_is_better(float x, int32_t i, float y, int32_t j)
    void rz_select(float *x, int32_t *ids, int lo, int hi, int k)
    void rz_sort(float *x, int32_t *ids, int lo, int hi)


cdef class Candidates:
    cdef readonly int n_vocab, n
    cdef const float[::1] source  # the caller's logits, kept alive
    cdef const float *x           # the candidates' logits: the caller's, or own
    cdef float *own
    cdef int32_t *ids             # of the candidates, unless is_dense: then candidate i is token i
    cdef bint is_dense
    cdef float peak               # the greatest logit
    cdef float *block_max
    cdef float *block_x           # room to order the blocks
    cdef int32_t *block_ids
    cdef float *weights           # room for e**(x - peak), and their sums
    cdef double *block_sum
    cdef int32_t *count           # of each token in the history; zero between calls
    cdef uint64_t seed, position  # what chance is a function of
    cdef uint32_t draw_number, n_uniforms
    cdef readonly double drawn_p  # probability of the candidate drawn last

    cdef int32_t _id(self, int i) noexcept nogil
    cdef int _n_blocks(self) noexcept nogil
    cdef int _block_end(self, int b) noexcept nogil
    cdef const float *_block(self, int b, float *padded) noexcept nogil
    cdef bint _scan(self) noexcept nogil
    cdef double _weigh(self) noexcept nogil
    cdef void _to_own(self) noexcept nogil
    cdef void _keep_first(self, int n) noexcept nogil
    cdef void _keep_from(self, float cut) noexcept nogil
    cdef void _greedy(self) noexcept nogil
    cdef void _penalize(self, const int32_t *history, int n, float repetition, float presence,
                        float frequency) noexcept nogil
    cdef void _top_k(self, int k) noexcept nogil
    cdef void _top_p(self, double p) noexcept nogil
    cdef void _temperature(self, float t) noexcept nogil
    cdef int _draw(self, double u) noexcept nogil
