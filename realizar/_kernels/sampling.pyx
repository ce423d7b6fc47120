"""One array of candidates that the samplers of a chain narrow and change, and the draw from it.

A candidate is a token id with its logit. After `load` every token is one: the logits are read where the caller has
them (nothing is ever written there) and the index is the id. The first sampler that changes a logit copies them; the
first that drops candidates packs the others to the front.

Every sampler leaves `block_max` true, the greatest logit of each block of 64: so the few candidates that matter among
150 000 are found by looking at 2 400 numbers.

Probabilities are computed by our own exp in a fixed order; the C library's log makes only the thresholds of top-p
(with a margin) and min-p, and log_sum_exp.
"""

from libc.float cimport FLT_MAX
from libc.math cimport INFINITY, log
from libc.stdint cimport int32_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy

import numpy as np

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
    """The float64 in [0, 1) that belongs to this seed, position and draw number: the first, or another one."""
    return rz_uniform(seed, position, draw, which)


cdef inline float penalized(float x, int count, float repetition, float presence, float frequency) noexcept nogil:
    """As llama.cpp and vLLM do it; what was finite stays finite."""
    if x == -INFINITY:
        return x
    x = x / repetition if x > 0.0 else x * repetition
    x -= <float>count * frequency + presence
    return min(max(x, -FLT_MAX), FLT_MAX)


cdef class Candidates:
    """The candidates of one token, at most n_vocab; the buffers are made once. For one thread at a time.

    Methods raise ValueError for an argument out of its range.
    """

    def __cinit__(self, int n_vocab):
        if n_vocab < 1:
            raise ValueError(f"n_vocab={n_vocab}: must be at least 1")
        cdef size_t n_blocks = (n_vocab + RZ_LOGITS_BLOCK - 1) // RZ_LOGITS_BLOCK, n = n_blocks * RZ_LOGITS_BLOCK
        self.n_vocab = n_vocab
        self.own = <float *>calloc(n, sizeof(float))
        self.ids = <int32_t *>calloc(n, sizeof(int32_t))
        self.weights = <float *>calloc(n, sizeof(float))
        self.count = <int32_t *>calloc(n, sizeof(int32_t))
        self.block_max = <float *>calloc(n_blocks, sizeof(float))
        self.block_x = <float *>calloc(n_blocks, sizeof(float))
        self.block_ids = <int32_t *>calloc(n_blocks, sizeof(int32_t))
        self.block_sum = <double *>calloc(n_blocks, sizeof(double))
        if not (self.own and self.ids and self.weights and self.count
                and self.block_max and self.block_x and self.block_ids and self.block_sum):
            raise MemoryError(f"no memory for {n_vocab} candidates")

    def __dealloc__(self):
        free(self.own)
        free(self.ids)
        free(self.weights)
        free(self.count)
        free(self.block_max)
        free(self.block_x)
        free(self.block_ids)
        free(self.block_sum)

    def load(self, const float[::1] logits not None):
        """Make every token a candidate; False when a logit is NaN or +inf, or all are -inf: then do not go on."""
        cdef bint sound
        if logits.shape[0] != self.n_vocab:
            raise ValueError(f"{logits.shape[0]} logits for a vocabulary of {self.n_vocab}")
        self.source = logits
        self.x = &logits[0]
        self.n = self.n_vocab
        self.is_dense = True
        with nogil:
            sound = self._scan()
        return sound and -INFINITY < self.peak < INFINITY

    @property
    def is_empty(self):
        """Whether no candidate is left that can be drawn: none has a logit above -inf."""
        return not self.peak > -INFINITY

    @property
    def token_ids(self):
        """The candidates' ids, int32 [n], in no particular order."""
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
        """Keep the best candidate; of equals the one with the lowest id."""
        with nogil:
            self._greedy()

    def penalize(self, const int32_t[::1] history not None, float repetition, float presence, float frequency):
        """Lower (or raise) the logits of the tokens in the history: see sampling/penalties.py."""
        cdef Py_ssize_t i
        for i in range(history.shape[0]):
            if not 0 <= history[i] < self.n_vocab:
                raise ValueError(f"history[{i}] is {history[i]}: no token of a vocabulary of {self.n_vocab}")
        if history.shape[0]:
            with nogil:
                self._penalize(&history[0], <int>history.shape[0], repetition, presence, frequency)

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
        """Make each logit (logit - peak) / t: to softmax the same as logit / t. A t below 1e-30 counts as that."""
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
        cdef double total
        with nogil:
            total = self._weigh()
        return self.peak + log(total)

    def key(self, uint64_t seed, uint64_t position, uint32_t draw):
        """Say what all chance in the next choice is a function of."""
        self.seed, self.position, self.draw_number, self.n_uniforms = seed, position, draw, 0

    def uniform(self):
        """The next float64 in [0, 1) for a sampler: the numbers after the first one, which is for the draw."""
        self.n_uniforms += 1
        return rz_uniform(self.seed, self.position, self.draw_number, self.n_uniforms)

    def draw(self):
        """Return the id of one candidate, drawn by their probabilities; then `drawn_p` is the one of that candidate."""
        cdef int32_t i = 0
        self.drawn_p = 1.0
        if self.n > 1:
            with nogil:
                i = self._draw(rz_uniform(self.seed, self.position, self.draw_number, 0))
        return self._id(i)

    def replace(self, const int32_t[::1] ids not None, const float[::1] logits not None):
        """Make these tokens the candidates, with these logits: all different, and no logit NaN or +inf."""
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
        """Block b; a short last one is copied to `padded` and filled up with -inf."""
        cdef int start = b * RZ_LOGITS_BLOCK, length = self._block_end(b) - start, i
        if length == RZ_LOGITS_BLOCK:
            return self.x + start
        for i in range(RZ_LOGITS_BLOCK):
            padded[i] = self.x[start + i] if i < length else -INFINITY
        return padded

    cdef bint _scan(self) noexcept nogil:
        """Makes block_max and peak true; returns whether there is no NaN."""
        cdef float padded[RZ_LOGITS_BLOCK]
        cdef int b, has_nan = 0
        self.peak = -INFINITY
        for b in range(self._n_blocks()):
            self.block_max[b] = rz_greatest(self._block(b, padded), &has_nan)
            self.peak = max(self.peak, self.block_max[b])
        return not has_nan

    cdef double _weigh(self) noexcept nogil:
        """weights = e**(logit - peak), block_sum their sums; returns the sum of those."""
        cdef float padded[RZ_LOGITS_BLOCK]
        cdef double total = 0.0
        cdef int b
        for b in range(self._n_blocks()):
            self.block_sum[b] = rz_weigh(self._block(b, padded), self.peak, self.weights + b * RZ_LOGITS_BLOCK)
            total += self.block_sum[b]
        return total

    cdef void _to_own(self) noexcept nogil:
        if self.x != self.own:
            memcpy(self.own, self.x, <size_t>self.n * sizeof(float))
            self.x = self.own

    cdef void _keep_first(self, int n) noexcept nogil:
        """The first n of own and ids are the candidates."""
        self.x = self.own
        self.n = n
        self.is_dense = False
        self._scan()

    cdef void _keep_from(self, float cut) noexcept nogil:
        """Keeps the candidates with a logit of at least `cut`, in their order."""
        cdef int b, i, n = 0
        for b in range(self._n_blocks()):
            if self.block_max[b] >= cut:
                for i in range(b * RZ_LOGITS_BLOCK, self._block_end(b)):
                    if self.x[i] >= cut:
                        self.own[n] = self.x[i]
                        self.ids[n] = self._id(i)
                        n += 1
        self._keep_first(n)

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

    cdef void _penalize(self, const int32_t *history, int n, float repetition, float presence,
                        float frequency) noexcept nogil:
        cdef int i, id, count
        self._to_own()
        for i in range(n):
            self.count[history[i]] += 1
        for i in range(n if self.is_dense else self.n):
            id = history[i] if self.is_dense else self.ids[i]
            count = self.count[id]
            if count:
                self.count[id] = 0
                id = id if self.is_dense else i
                self.own[id] = penalized(self.own[id], count, repetition, presence, frequency)
        for i in range(n):
            self.count[history[i]] = 0
        self._scan()

    cdef void _top_k(self, int k) noexcept nogil:
        cdef int b, n_blocks = self._n_blocks()
        if k >= self.n:
            return
        if k <= n_blocks:  # k blocks hold one each that is no worse than the k-th best block maximum
            for b in range(n_blocks):
                self.block_x[b], self.block_ids[b] = self.block_max[b], b
            rz_select(self.block_x, self.block_ids, 0, n_blocks, k - 1)
            rz_select(self.block_x, self.block_ids, k - 1, n_blocks, k)
            self._keep_from(self.block_x[k - 1])
        else:
            self._keep_from(-INFINITY)
        rz_select(self.own, self.ids, 0, self.n, k)
        self._keep_first(k)

    cdef void _top_p(self, double p) noexcept nogil:
        cdef double total = self._weigh(), mass = 0.0, margin
        cdef int done = 0, upto = 0
        # All candidates less probable than (1 - p) / n hold less than 1 - p together, so none of them is in the set.
        margin = 1e-3 + 1e-6 * abs(self.peak)
        self._keep_from(<float>(self.peak + log((1.0 - p) / self.n * total) - margin))
        while upto < self.n:
            upto = min(self.n, 2 * upto + RZ_LOGITS_BLOCK)
            rz_select(self.own, self.ids, done, self.n, upto)
            rz_sort(self.own, self.ids, done, upto)
            while done < upto:
                mass += rz_exp(max(self.own[done] - self.peak, <float>-88.0))
                done += 1
                if mass >= p * total:
                    self._keep_first(done)
                    return
        self._scan()

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
        """Walks the blocks, then the weights, up to the share u of the sum; the last that weighs takes the rounding."""
        cdef double total = self._weigh(), target = u * total, below = 0.0
        cdef int b, i, block = 0, chosen = 0
        for b in range(self._n_blocks()):
            if self.block_sum[b] > 0.0:
                block = b
                if below + self.block_sum[b] > target:
                    break
                below += self.block_sum[b]
        for i in range(block * RZ_LOGITS_BLOCK, self._block_end(block)):
            if self.weights[i] > 0.0:
                chosen = i
                below += self.weights[i]
                if below > target:
                    break
        self.drawn_p = self.weights[chosen] / total
        return chosen
