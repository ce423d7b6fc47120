"""Samplers that disfavor the most probable candidates: XTC, mirostat's rank, adaptive-p.

Each is a function of the candidates; sampling/xtc.py, sampling/mirostat.py and sampling/adaptive.py define them.
"""

from libc.math cimport INFINITY, expm1, fabs, log, pow

from realizar._kernels.sampling cimport Candidates, rz_is_better, rz_select, rz_sort
from realizar._kernels.table cimport RZ_LOGITS_BLOCK


cdef void exclude_top(Candidates c, double cut) noexcept nogil:
    """Drops all candidates within this distance (a number below 0) of the best, except the least probable of them."""
    cdef int b, i, last = -1, n = 0
    for b in range(c._n_blocks()):
        if <double>c.block_max[b] - c.peak >= cut:
            for i in range(b * RZ_LOGITS_BLOCK, c._block_end(b)):
                if c.x[i] > -INFINITY and <double>c.x[i] - c.peak >= cut:
                    if last < 0 or rz_is_better(c.x[last], c._id(last), c.x[i], c._id(i)):
                        last = i
    for i in range(c.n):
        if i == last or not (c.x[i] > -INFINITY and <double>c.x[i] - c.peak >= cut):
            c.own[n] = c.x[i]
            c.ids[n] = c._id(i)
            n += 1
    c._keep_first(n)


cdef double zipf_exponent(Candidates c, int m) noexcept nogil:
    """Returns the least-squares slope of log(p) over log(rank) for the m best candidates."""
    cdef double t, tb = 0.0, tt = 0.0
    cdef float *x = c.spare_x
    cdef int i, n
    m = min(m, c.n)
    n = c._gather(c._below_best(m), x, c.spare_ids)
    rz_select(x, c.spare_ids, 0, n, m)
    rz_sort(x, c.spare_ids, 0, m)
    for i in range(m - 1):
        if not x[i + 1] > -INFINITY:
            break
        t = log((i + 2.0) / (i + 1.0))
        tb += t * (<double>x[i] - <double>x[i + 1])
        tt += t * t
    return tb / tt if tt > 0.0 else 0.0


def xtc(Candidates c not None, double threshold):
    """Drop all candidates with a probability of at least the threshold, except the least probable of them."""
    if not 0.0 <= threshold <= 1.0:
        raise ValueError(f"threshold={threshold}: must be in [0, 1]")
    with nogil:
        exclude_top(c, log(threshold * c.total))


def mirostat_rank(Candidates c not None, double mu, int m=100):
    """Return the number of best candidates (>= 1) for a surprise of mu bits, from a Zipf law fitted to the m best."""
    cdef double s, eps, k, n = c.n_vocab
    if m < 2:
        raise ValueError(f"m={m}: must be at least 2")
    with nogil:
        s = zipf_exponent(c, m)
        eps = s - 1.0
        if s <= 0.0:
            k = INFINITY
        else:
            k = eps / -expm1(-eps * log(n)) if fabs(eps) > 1e-9 else 1.0 / log(n)
            k = pow(k * pow(2.0, mu), 1.0 / s)
    return c.n if not k < c.n else max(<int>k, 1)


def adaptive(Candidates c not None, double target, float[::1] p not None):
    """Set logits that prefer probabilities near the target; store each candidate's previous probability in p[id]."""
    cdef double distance
    cdef int i
    if p.shape[0] != c.n_vocab:
        raise ValueError(f"room for {p.shape[0]} probabilities: must be for {c.n_vocab}")
    with nogil:
        c._weigh(c.x, c.n)
        c._to_own()
        for i in range(c.n):
            p[c._id(i)] = <float>(c.spare_x[i] / c.total)
            if c.own[i] > -INFINITY:
                distance = fabs(c.spare_x[i] / c.total - target) / 0.3
                c.own[i] = <float>(5.0 - 10.0 * distance * distance / (1.0 + distance))
        c._scan()
