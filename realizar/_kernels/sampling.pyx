"""The candidates for one token, which the samplers of a chain filter and change, and the draw among them.

A candidate is a token id with its logit. After `load` every token is a candidate: the logits are read from the caller's
memory (which is never written) and the index is the id. The first sampler that changes a logit copies them; the first
that drops candidates packs the others to the front.

Every sampler keeps the summaries of each block of 64 candidates up to date: the maximum logit, and the sum of
e**(logit - maximum). So the few candidates that matter among 150,000 are found by reading 2,400 numbers, and the draw
reads as many and one block. The summaries of a step's logit rows come from all worker threads (logit_scan.pyx).

Probabilities are computed by the kernel table's exp in a fixed order; the C library's log is used only for the
thresholds of top-p (with a margin) and min-p, and for log_sum_exp.
"""

from libc.math cimport INFINITY, log
from libc.stdint cimport int32_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy

import numpy as np

from realizar._kernels.table cimport RZ_LOGITS_BLOCK, kernels

cdef extern from "realizar/philox.h" nogil:
    void rz_philox(uint32_t *c, uint32_t k0, uint32_t k1)
    double rz_uniform(uint64_t seed, uint64_t position, uint32_t draw, uint32_t which)


def philox4x32(counter, key):
    """Philox4x32-10 of four counter words under two key words: four words of 32 bits."""
    cdef uint32_t c[4]
    c[0], c[1], c[2], c[3] = counter
    rz_philox(c, key[0], key[1])
    return c[0], c[1], c[2], c[3]


def uniform(uint64_t seed, uint64_t position, uint32_t draw, uint32_t which=0):
    """Return the random float64 in [0, 1) with this index for a seed, position and draw number."""
    return rz_uniform(seed, position, draw, which)


cdef class Candidates:
    """The candidates for one token, at most n_vocab; the buffers are allocated once. Not thread-safe.

    Methods raise ValueError for an argument out of its range.
    """

    def __cinit__(self, int n_vocab):
        if n_vocab < 1:
            raise ValueError(f"n_vocab={n_vocab}: must be at least 1")
        self.kernels = kernels()
        cdef size_t n_blocks = (n_vocab + RZ_LOGITS_BLOCK - 1) // RZ_LOGITS_BLOCK, n = n_blocks * RZ_LOGITS_BLOCK
        self.n_vocab = n_vocab
        self.own = <float *>calloc(n, sizeof(float))
        self.ids = <int32_t *>calloc(n, sizeof(int32_t))
        self.spare_x = <float *>calloc(n, sizeof(float))
        self.spare_ids = <int32_t *>calloc(n, sizeof(int32_t))
        self.count = <int32_t *>calloc(n, sizeof(int32_t))
        self.block_max = <float *>calloc(n_blocks, sizeof(float))
        self.block_sum = <float *>calloc(n_blocks, sizeof(float))
        self.block_weight = <float *>calloc(n_blocks, sizeof(float))
        self.block_x = <float *>calloc(n_blocks, sizeof(float))
        self.block_ids = <int32_t *>calloc(n_blocks, sizeof(int32_t))
        if not (self.own and self.ids and self.spare_x and self.spare_ids and self.count and self.block_max
                and self.block_sum and self.block_weight and self.block_x and self.block_ids):
            raise MemoryError(f"no memory for {n_vocab} candidates")

    def __dealloc__(self):
        free(self.own)
        free(self.ids)
        free(self.spare_x)
        free(self.spare_ids)
        free(self.count)
        free(self.block_max)
        free(self.block_sum)
        free(self.block_weight)
        free(self.block_x)
        free(self.block_ids)

    def load(self, const float[::1] logits not None, const float[:, :] summaries=None):
        """Make every token a candidate; False if a logit is NaN or +inf, or all are -inf: then do not continue.

        The logits, float32 [n_vocab], are read in place. Their block maxima and block sums, float32 [2, n_blocks] as
        returned by `logit_scan.summaries`, are computed here if they are not passed.
        """
        cdef Py_ssize_t n
        if logits.shape[0] != self.n_vocab:
            raise ValueError(f"{logits.shape[0]} logits for a vocabulary of {self.n_vocab}")
        self.source = logits
        self.x = &logits[0]
        self.n = self.n_vocab
        self.is_dense = True
        if summaries is None:
            with nogil:
                self._scan()
        else:
            n = self._n_blocks()
            if summaries.shape[0] != 2 or summaries.shape[1] != n or summaries.strides[1] != sizeof(float):
                raise ValueError(f"summaries [{summaries.shape[0]}, {summaries.shape[1]}]: must be rows [2, {n}]")
            memcpy(self.block_max, &summaries[0, 0], <size_t>n * sizeof(float))
            memcpy(self.block_sum, &summaries[1, 0], <size_t>n * sizeof(float))
            self._sum()
        return -INFINITY < self.peak < INFINITY and self.total == self.total

    @property
    def is_empty(self):
        """Whether no candidate can be drawn: none has a logit above -inf."""
        return not self.peak > -INFINITY

    @property
    def token_ids(self):
        """The candidates' ids, int32 [n], in arbitrary order."""
        cdef int i
        found = np.empty(self.n, np.int32)
        cdef int32_t[::1] ids = found
        for i in range(self.n):
            ids[i] = self._id(i)
        return found

    @property
    def logits(self):
        """The candidates' logits, float32 [n], in the order of `token_ids`."""
        found = np.empty(self.n, np.float32)
        cdef float[::1] logits = found
        if self.n:
            memcpy(&logits[0], self.x, <size_t>self.n * sizeof(float))
        return found

    def greedy(self):
        """Keep the best candidate; of equal logits, the one with the lowest id."""
        with nogil:
            self._greedy()

    def top_k(self, int k):
        """Keep the k best candidates."""
        if k < 1:
            raise ValueError(f"k={k}: must be at least 1")
        with nogil:
            self._top_k(k)

    def top_p(self, double p):
        """Keep the smallest set of best candidates whose probabilities sum to at least p (one, at least)."""
        if not 0.0 <= p <= 1.0:
            raise ValueError(f"p={p}: must be in [0, 1]")
        with nogil:
            self._top_p(p)

    def min_p(self, double p):
        """Keep the candidates at least p times as probable as the best one: logit >= peak + log(p)."""
        if not 0.0 <= p <= 1.0:
            raise ValueError(f"p={p}: must be in [0, 1]")
        with nogil:
            self._keep_from(<float>(self.peak + log(p)))

    def temperature(self, double t):
        """Make each logit (logit - peak) / t, which gives the same softmax as logit / t. The least t is 1e-30."""
        if not t > 0.0:
            raise ValueError(f"t={t}: must be above 0")
        with nogil:
            self._temperature(<float>max(t, <double>1e-30))

    def ranked(self, int k):
        """Keep the k best candidates and return them best first, as (id, logit)."""
        with nogil:
            self._top_k(k)
            self._keep_from(-INFINITY)
            rz_sort(self.own, self.ids, 0, self.n)
            self._scan()
        return [(self.ids[i], self.own[i]) for i in range(self.n)]

    def log_sum_exp(self):
        """The float64 log(sum(e**logit)), to about 1e-6."""
        return self.peak + log(self.total)

    def key(self, uint64_t seed, uint64_t position, uint32_t draw):
        """Set the seed, position and draw number that determine the random numbers of the next token."""
        self.seed, self.position, self.draw_number, self.n_uniforms = seed, position, draw, 0

    def uniform(self):
        """Return the next random float64 in [0, 1) for a sampler; the first number is reserved for the draw."""
        self.n_uniforms += 1
        return rz_uniform(self.seed, self.position, self.draw_number, self.n_uniforms)

    def draw(self):
        """Draw a candidate by the probabilities and return its id; sets `drawn_p` to its probability."""
        cdef int32_t i = 0
        self.drawn_p = 1.0
        if self.n > 1:
            with nogil:
                i = self._draw(rz_uniform(self.seed, self.position, self.draw_number, 0))
        return self._id(i)

    def replace(self, const int32_t[::1] ids not None, const float[::1] logits not None):
        """Make these tokens the candidates, with these logits; ids must be distinct, and no logit NaN or +inf."""
        cdef int i
        if ids.shape[0] != logits.shape[0] or not 0 < ids.shape[0] <= self.n_vocab:
            raise ValueError(f"{ids.shape[0]} ids and {logits.shape[0]} logits: must be as many, 1 to {self.n_vocab}")
        for i in range(<int>ids.shape[0]):
            if not 0 <= ids[i] < self.n_vocab or not logits[i] < INFINITY:
                raise ValueError(f"candidate {i} is token {ids[i]} with logit {logits[i]}: must be a token, below inf")
        for i in range(<int>ids.shape[0]):
            self.own[i], self.ids[i] = logits[i], ids[i]
        self._keep_first(<int>ids.shape[0])

    # ---- the same without the GIL ---------------------------------------------------------------------------------

    cdef int32_t _id(self, int i) noexcept nogil:
        return i if self.is_dense else self.ids[i]

    cdef int _n_blocks(self) noexcept nogil:
        return (self.n + RZ_LOGITS_BLOCK - 1) // RZ_LOGITS_BLOCK

    cdef int _block_end(self, int b) noexcept nogil:
        return min((b + 1) * RZ_LOGITS_BLOCK, self.n)

    cdef const float *_block(self, int b, float *padded) noexcept nogil:
        """Returns block b; a shorter last block is copied to `padded` and filled with -inf."""
        cdef int start = b * RZ_LOGITS_BLOCK, length = self._block_end(b) - start, i
        if length == RZ_LOGITS_BLOCK:
            return self.x + start
        for i in range(RZ_LOGITS_BLOCK):
            padded[i] = self.x[start + i] if i < length else -INFINITY
        return padded

    cdef void _scan(self) noexcept nogil:
        """Recomputes the summaries of all blocks, and peak and total."""
        self.kernels.logit_sums(self.x, self.n, self.block_max, self.block_sum)
        self._sum()

    cdef void _rescan(self, const int32_t *ids, int n) noexcept nogil:
        """The same if only the logits of these tokens have changed."""
        cdef int i, b
        if not self.is_dense or n > self._n_blocks():
            self._scan()
            return
        for i in range(n):
            b = ids[i] // RZ_LOGITS_BLOCK
            self.kernels.logit_sums(self.x + b * RZ_LOGITS_BLOCK, self._block_end(b) - b * RZ_LOGITS_BLOCK,
                                    self.block_max + b, self.block_sum + b)
        self._sum()

    cdef void _sum(self) noexcept nogil:
        """Computes peak and total from the blocks. If a logit is NaN or +inf, total is NaN."""
        cdef int b, n = self._n_blocks()
        cdef double total = 0.0
        cdef float peak = -INFINITY
        for b in range(n):
            peak = self.block_max[b] if self.block_max[b] > peak else peak
        self.kernels.logit_weights(self.block_max, peak, n, self.block_weight)
        for b in range(n):
            total += <double>self.block_sum[b] * <double>self.block_weight[b]
        self.peak, self.total = peak, total

    cdef double _weigh(self, const float *x, int n) noexcept nogil:
        """Writes e**(x - peak) of n logits into spare_x; returns their sum."""
        cdef double total = 0.0
        cdef int i
        self.kernels.logit_weights(x, self.peak, n, self.spare_x)
        for i in range(n):
            total += self.spare_x[i]
        return total

    cdef void _to_own(self) noexcept nogil:
        if self.x != self.own:
            memcpy(self.own, self.x, <size_t>self.n * sizeof(float))
            self.x = self.own

    cdef void _keep_first(self, int n) noexcept nogil:
        """Makes the first n of own and ids the candidates."""
        self.x = self.own
        self.n = n
        self.is_dense = False
        self._scan()

    cdef void _keep_spare(self, int n) noexcept nogil:
        """Makes the first n set-aside candidates the candidates."""
        memcpy(self.own, self.spare_x, <size_t>n * sizeof(float))
        memcpy(self.ids, self.spare_ids, <size_t>n * sizeof(int32_t))
        self._keep_first(n)

    cdef void _keep_from(self, float cut) noexcept nogil:
        """Keeps the candidates with a logit of at least `cut`, in their order."""
        self._keep_first(self._gather(cut, self.own, self.ids))

    cdef int _gather(self, float cut, float *x, int32_t *ids) noexcept nogil:
        """Sets aside (copies) the candidates with a logit of at least `cut`, in their order; returns their number."""
        cdef int b, i, n = 0
        for b in range(self._n_blocks()):
            if self.block_max[b] >= cut:
                for i in range(b * RZ_LOGITS_BLOCK, self._block_end(b)):
                    if self.x[i] >= cut:
                        x[n] = self.x[i]
                        ids[n] = self._id(i)
                        n += 1
        return n

    cdef void _greedy(self) noexcept nogil:
        cdef int32_t best = self.n_vocab
        cdef int b, i
        for b in range(self._n_blocks()):
            if self.block_max[b] == self.peak:
                for i in range(b * RZ_LOGITS_BLOCK, self._block_end(b)):
                    if self.x[i] == self.peak:
                        best = min(best, self._id(i))
        self.own[0] = self.peak
        self.ids[0] = best
        self._keep_first(1)

    cdef float _below_best(self, int k) noexcept nogil:
        """Returns a logit that at least k candidates reach, and not many more."""
        cdef int b, n_blocks = self._n_blocks()
        if k > n_blocks:
            return -INFINITY
        for b in range(n_blocks):
            self.block_x[b], self.block_ids[b] = self.block_max[b], b
        rz_select(self.block_x, self.block_ids, 0, n_blocks, k - 1)
        rz_select(self.block_x, self.block_ids, k - 1, n_blocks, k)
        return self.block_x[k - 1]  # each of k blocks has a candidate that is not worse

    cdef void _top_k(self, int k) noexcept nogil:
        if k < self.n:
            rz_select(self.own, self.ids, 0, self._gather(self._below_best(k), self.own, self.ids), k)
            self._keep_first(k)

    cdef int _take(self, const float *x, int n, double enough, double *mass) noexcept nogil:
        """Adds e**(x - peak) of the candidates, in order, to the mass until it is enough; returns how many it added."""
        cdef float w[RZ_LOGITS_BLOCK]
        cdef int i, start = 0
        while start < n:
            self.kernels.logit_weights(x + start, self.peak, min(n - start, RZ_LOGITS_BLOCK), w)
            for i in range(min(n - start, RZ_LOGITS_BLOCK)):
                mass[0] += w[i]
                if mass[0] >= enough:
                    return start + i + 1
            start += RZ_LOGITS_BLOCK
        return n

    cdef int _heaviest(self, int n, double enough) noexcept nogil:
        """Moves the best set-aside candidates to the front, as few as have enough weight; returns their number.

        Quickselect by weight: either the candidates better than the pivot have enough weight, or all of them are kept
        and the others must supply the rest.
        """
        cdef double before = 0.0, mass
        cdef int lo = 0, hi = n, place
        while lo < hi:
            place, mass = rz_partition(self.spare_x, self.spare_ids, lo, hi), before
            self._take(self.spare_x + lo, place - lo, INFINITY, &mass)
            if place > lo and mass >= enough:
                hi = place
                continue
            self._take(self.spare_x + place, 1, INFINITY, &mass)
            lo = place + 1
            if mass >= enough:
                break
            before = mass
        return lo

    cdef void _top_p(self, double p) noexcept nogil:
        """Lowers the cut until the candidates above it have enough weight."""
        cdef double enough = p * self.total, mass = 0.0, reach = 3.0
        cdef int n = 0
        while not n or (n < self.n and mass < enough * (1.0 + 1e-12)):  # margin for the rounding of sums
            n, mass = self._gather(<float>fallen(self.peak, reach), self.spare_x, self.spare_ids), 0.0
            self._take(self.spare_x, n, INFINITY, &mass)
            reach *= 1.5
        self._keep_spare(self._heaviest(n, enough))

    cdef void _temperature(self, float t) noexcept nogil:
        cdef const float *x = self.x
        cdef float *y = self.own
        cdef float peak = self.peak
        cdef int i
        for i in range(self.n):
            y[i] = (x[i] - peak) / t
        self.x = y
        self._scan()

    cdef int _draw(self, double u) noexcept nogil:
        """Finds the candidate at the share u of the total weight; if rounding misses it, the last one with a weight."""
        cdef double target = u * self.total, below = 0.0, weight
        cdef int b, i, block = 0, chosen = 0, start
        for b in range(self._n_blocks()):
            weight = <double>self.block_sum[b] * <double>self.block_weight[b]
            if weight > 0.0:
                block = b
                if below + weight > target:
                    break
                below += weight
        start = block * RZ_LOGITS_BLOCK
        self._weigh(self.x + start, self._block_end(block) - start)
        for i in range(self._block_end(block) - start):
            if self.spare_x[i] > 0.0:
                chosen = i
                below += self.spare_x[i]
                if below > target:
                    break
        self.drawn_p = self.spare_x[chosen] / self.total
        return start + chosen
