"""Samplers that depend on the shape of the whole distribution: its entropy, variance or curvature.

Each is a function of the candidates; sampling/truncation.py and sampling/temperature.py define them.
"""

from libc.float cimport FLT_MAX
from libc.math cimport INFINITY, exp, fabs, log, pow, sqrt
from libc.stdint cimport int32_t

from realizar._kernels.sampling cimport Candidates, fallen, more, rz_moments, rz_select, rz_sort
from realizar._kernels.table cimport RZ_LOGITS_BLOCK


cdef struct Spread:
    double fall     # the mean of peak - x by probability
    double entropy  # in nats


cdef Spread spread(Candidates c) noexcept nogil:
    cdef Spread s
    cdef double fall = 0.0
    cdef int b
    c.kernels.logit_falls(c.x, c.n, c.block_max, c.block_x)
    for b in range(c._n_blocks()):
        if c.block_weight[b] > 0.0:
            fall += c.block_weight[b] * (c.block_x[b] + c.block_sum[b] * (<double>c.peak - <double>c.block_max[b]))
    s.fall = fall / c.total
    s.entropy = max(log(c.total) + s.fall, 0.0)
    return s


cdef int n_finite(Candidates c) noexcept nogil:
    cdef int i, n = 0
    for i in range(c.n):
        n += c.x[i] > -INFINITY
    return n


cdef double deviation(Candidates c) noexcept nogil:
    """Return the standard deviation of all finite logits."""
    cdef float padded[RZ_LOGITS_BLOCK]
    cdef double total = 0.0, squares = 0.0, mean
    cdef int b, n = 0
    for b in range(c._n_blocks()):
        n += rz_moments(c._block(b, padded), c.peak, &total, &squares)
    mean = total / n
    return sqrt(max(squares / n - mean * mean, 0.0))


cdef void keep_probable(Candidates c, double p) noexcept nogil:
    """Keeps the candidates of at least this probability, and always the best one."""
    c._keep_from(min(<float>(c.peak + log(p * c.total)), c.peak))


cdef inline int index_of(Candidates c, int32_t id) noexcept nogil:
    return id if c.is_dense else c.count[id]


cdef int nearest(Candidates c, int n, double fall, double enough) noexcept nogil:
    """Sorts the set-aside candidates by |-log(probability) - entropy|, that is, by the distance of the logit to the
    probability-weighted mean logit. Returns how many of the nearest have `enough` weight; 0 if all have less.
    """
    cdef float x[RZ_LOGITS_BLOCK]
    cdef double mass = 0.0
    cdef int i, length, done = 0, upto = 0
    for i in range(n):
        c.spare_x[i] = <float>max(-fabs(<double>c.peak - <double>c.spare_x[i] - fall), -<double>FLT_MAX)
    while done < n and (not done or mass < enough):
        if done == upto:
            upto = more(done, n)
            rz_select(c.spare_x, c.spare_ids, done, n, upto)
            rz_sort(c.spare_x, c.spare_ids, done, upto)
        length = min(upto - done, RZ_LOGITS_BLOCK)
        for i in range(length):
            x[i] = c.x[index_of(c, c.spare_ids[done + i])]
        done += c._take(x, length, enough, &mass)
    return done if mass >= enough else 0


cdef void keep_typical(Candidates c, double p) noexcept nogil:
    cdef double fall = spread(c).fall, reach = fall + 1.0
    cdef int i, n, kept
    if not c.is_dense:
        for i in range(c.n):
            c.count[c.ids[i]] = i
    while True:
        n = c._gather(<float>fallen(c.peak, fall + reach), c.spare_x, c.spare_ids)
        kept = nearest(c, n, fall, p * c.total)
        if kept and -c.spare_x[kept - 1] < <float>reach:  # candidates below the cut are at least as far
            break
        if n == c.n:
            kept = kept if kept else n
            break
        reach *= 2.0
    for i in range(kept):
        c.spare_x[i] = c.x[index_of(c, c.spare_ids[i])]
    if not c.is_dense:
        for i in range(c.n):
            c.count[c.ids[i]] = 0
    c._keep_spare(kept)


cdef int bent(Candidates c, int n, double limit, double *total) noexcept nogil:
    """Sums the second differences of the weights of the first n set-aside candidates, in order; returns the first
    index > 0 at which the sum exceeds the limit, or -1.
    """
    cdef float w[RZ_LOGITS_BLOCK + 2]
    cdef int i, start = 0
    total[0] = 0.0
    while start < n - 2:
        c.kernels.logit_weights(c.spare_x + start, c.peak, min(n - start, RZ_LOGITS_BLOCK + 2), w)
        for i in range(min(n - 2 - start, RZ_LOGITS_BLOCK)):
            total[0] += fabs(<double>w[i] - 2.0 * w[i + 1] + w[i + 2])
            if total[0] > limit and start + i > 0:
                return start + i
        start += RZ_LOGITS_BLOCK
    return -1


cdef int head(Candidates c, int n, double z) noexcept nogil:
    """Returns how many of the n set-aside candidates to keep; -1: all candidates; -2: it depends on the others."""
    cdef double curvature, rest, so_far
    cdef float weight
    cdef int done = 0, kept
    while done < n:
        rz_select(c.spare_x, c.spare_ids, done, n, more(done, n))
        rz_sort(c.spare_x, c.spare_ids, done, more(done, n))
        done = more(done, n)
        bent(c, done, INFINITY, &curvature)
        kept = bent(c, done, z * curvature, &so_far)
        if done == c.n:
            return kept
        # The second differences of decreasing weights sum to at most twice the first weight, here that of the first
    # difference not counted.
        if done > 2:
            c.kernels.logit_weights(c.spare_x + done - 2, c.peak, 1, &weight)
            rest = 2.0 * weight
            if kept > 0 and kept == bent(c, done, z * (curvature + rest) * (1.0 + 1e-12), &so_far):
                return kept
    return -2


cdef void keep_head(Candidates c, double z) noexcept nogil:
    cdef double reach = 12.0
    cdef int kept = -2
    while kept == -2:
        kept = head(c, c._gather(<float>fallen(c.peak, reach), c.spare_x, c.spare_ids), z)
        reach *= 2.0
    if kept > 0:
        c._keep_spare(kept)


cdef void bend(Candidates c, double factor, double curve) noexcept nogil:
    cdef double d, k = 0.5 * (3.0 - curve) * factor, s = 0.5 * (curve - 1.0) * factor, y
    cdef int i
    c._to_own()
    for i in range(c.n):
        if c.own[i] > -INFINITY:
            d = <double>c.own[i] - <double>c.peak
            y = c.peak - d * d * (k - s * d)
            c.own[i] = <float>min(max(y, -<double>FLT_MAX), <double>FLT_MAX)
    c._scan()


def check(name, double value, double low, double high):
    """Raise ValueError unless low <= value <= high."""
    if not low <= value <= high:
        raise ValueError(f"{name}={value}: must be in [{low:g}, {high:g}]")


def typical(Candidates c not None, double p):
    """Keep the candidates whose information is nearest the entropy, until their probabilities sum to at least p."""
    check("p", p, 0.0, 1.0)
    with nogil:
        keep_typical(c, p)


def tail_free(Candidates c not None, double z):
    """Keep the candidates before the place where the sorted probabilities reach the share z of their curvature."""
    check("z", z, 0.0, 1.0)
    if c.n > 2:
        with nogil:
            keep_head(c, z)


def epsilon(Candidates c not None, double p):
    """Keep the candidates with a probability of at least p, and the best."""
    check("p", p, 0.0, 1.0)
    with nogil:
        keep_probable(c, p)


def eta(Candidates c not None, double p):
    """Keep the candidates with a probability of at least min(p, sqrt(p) * e**-entropy), and the best."""
    check("p", p, 0.0, 1.0)
    with nogil:
        keep_probable(c, min(p, sqrt(p) * exp(-spread(c).entropy)))


def top_a(Candidates c not None, double a):
    """Keep the candidates with a probability of at least a * (that of the best)**2, and the best."""
    check("a", a, 0.0, 1.0)
    with nogil:
        keep_probable(c, a / (c.total * c.total))


def top_n_sigma(Candidates c not None, double n):
    """Keep the candidates whose logit is at most n standard deviations of all finite logits below the best."""
    check("n", n, 0.0, 1e6)
    with nogil:
        c._keep_from(<float>max(c.peak - n * deviation(c), -<double>FLT_MAX))


def dynamic_temperature(Candidates c not None, double t, double reach, double exponent):
    """Divide by a temperature in [max(0, t - reach), t + reach] that grows with the entropy."""
    cdef double low = max(t - reach, 0.0), share
    cdef int n
    check("t", t, 0.0, 1e6)
    check("reach", reach, 0.0, 1e6)
    check("exponent", exponent, 0.0, 1e6)
    with nogil:
        n = n_finite(c)
        if n > 1:
            share = min(spread(c).entropy / log(<double>n), 1.0)
            c._temperature(<float>max(low + (t + reach - low) * pow(share, exponent), 1e-30))


def quadratic(Candidates c not None, double factor, double curve):
    """Change the logits by the square and the cube of their distance to the best."""
    check("factor", factor, 0.0, 1e6)
    check("curve", curve, 1.0, 100.0)
    with nogil:
        bend(c, factor, curve)
