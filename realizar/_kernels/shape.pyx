"""Samplers that look at the shape of the whole distribution: entropy, spread, the fall from candidate to candidate.

Each is a function of the candidates; what it means stands in sampling/truncation.py and sampling/temperature.py.
"""

from libc.float cimport FLT_MAX
from libc.math cimport INFINITY, exp, fabs, log, pow, sqrt

from realizar._kernels.sampling cimport (
    RZ_LOGITS_BLOCK, Candidates, rz_exp, rz_fall, rz_moments, rz_select, rz_sort,
)


cdef struct Spread:
    double total    # the sum of the weights e**(x - peak)
    double fall     # the mean of peak - x by probability
    double entropy  # in nats


cdef Spread spread(Candidates c) noexcept nogil:
    cdef float padded[RZ_LOGITS_BLOCK]
    cdef Spread s
    cdef double fall = 0.0
    cdef int b
    s.total = c._weigh()
    for b in range(c._n_blocks()):
        fall += rz_fall(c._block(b, padded), c.peak, c.weights + b * RZ_LOGITS_BLOCK)
    s.fall = fall / s.total
    s.entropy = max(log(s.total) + s.fall, 0.0)
    return s


cdef int moments(Candidates c, double *mean, double *deviation) noexcept nogil:
    """Of the falls below the best of all finite logits, of which it returns the number."""
    cdef float padded[RZ_LOGITS_BLOCK]
    cdef double total = 0.0, squares = 0.0
    cdef int b, n = 0
    for b in range(c._n_blocks()):
        n += rz_moments(c._block(b, padded), c.peak, &total, &squares)
    mean[0] = total / n
    deviation[0] = sqrt(max(squares / n - mean[0] * mean[0], 0.0))
    return n


cdef void keep_probable(Candidates c, double p, double total) noexcept nogil:
    """Keeps the candidates of at least this probability, and the best in any case."""
    c._keep_from(min(<float>(c.peak + log(p * total)), c.peak))


cdef void keep_typical(Candidates c, double p) noexcept nogil:
    """Orders by how far -log(probability) is from the entropy: that is, a logit from the mean logit by probability."""
    cdef Spread s = spread(c)
    cdef double mass = 0.0
    cdef int i, done = 0, upto = 0
    c._keep_from(-INFINITY)
    for i in range(c.n):
        c.weights[c.ids[i]] = c.own[i]  # by token, since the order is about to go
        c.own[i] = <float>max(-fabs(<double>c.peak - <double>c.own[i] - s.fall), -<double>FLT_MAX)
    while upto < c.n and (not done or mass < p * s.total):
        upto = min(c.n, 2 * upto + RZ_LOGITS_BLOCK)
        rz_select(c.own, c.ids, done, c.n, upto)
        rz_sort(c.own, c.ids, done, upto)
        while done < upto and (not done or mass < p * s.total):
            mass += rz_exp(max(c.weights[c.ids[done]] - c.peak, <float>-88.0))
            done += 1
    for i in range(done):
        c.own[i] = c.weights[c.ids[i]]
    c._keep_first(done)


cdef void keep_head(Candidates c, double z) noexcept nogil:
    """Tail-free. What lies behind a weight w bends by 2 w at most, so that only the head has to be sorted."""
    cdef float *w = c.weights
    cdef double curvature = 0.0, so_far = 0.0
    cdef int i = 0, done = 0, upto = 0
    c._keep_from(-INFINITY)
    while upto < c.n and not (upto and 2.0 * w[upto - 1] <= 1e-7 * curvature):
        upto = min(c.n, 2 * upto + RZ_LOGITS_BLOCK)
        rz_select(c.own, c.ids, done, c.n, upto)
        rz_sort(c.own, c.ids, done, upto)
        while done < upto:
            w[done] = rz_exp(max(c.own[done] - c.peak, <float>-88.0))
            done += 1
        while i + 2 < done:
            curvature += fabs(<double>w[i] - 2.0 * w[i + 1] + w[i + 2])
            i += 1
    if curvature > 0.0:
        for i in range(done - 2):
            so_far += fabs(<double>w[i] - 2.0 * w[i + 1] + w[i + 2])
            if so_far > z * curvature and i > 0:
                c._keep_first(i)
                return
    c._scan()


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
    """Keep the candidates nearest to the expected information until their probabilities sum to at least p."""
    check("p", p, 0.0, 1.0)
    with nogil:
        keep_typical(c, p)


def tail_free(Candidates c not None, double z):
    """Keep the candidates in front of where the share z of the curvature of the sorted probabilities is reached."""
    check("z", z, 0.0, 1.0)
    if c.n > 2:
        with nogil:
            keep_head(c, z)


def epsilon(Candidates c not None, double p):
    """Keep the candidates with a probability of at least p, and the best."""
    check("p", p, 0.0, 1.0)
    with nogil:
        keep_probable(c, p, c._weigh())


def eta(Candidates c not None, double p):
    """Keep the candidates with a probability of at least min(p, sqrt(p) * e**-entropy), and the best."""
    cdef Spread s
    check("p", p, 0.0, 1.0)
    with nogil:
        s = spread(c)
        keep_probable(c, min(p, sqrt(p) * exp(-s.entropy)), s.total)


def top_a(Candidates c not None, double a):
    """Keep the candidates with a probability of at least a * (that of the best)**2, and the best."""
    cdef double total
    check("a", a, 0.0, 1.0)
    with nogil:
        total = c._weigh()
        keep_probable(c, a / (total * total), total)


def top_n_sigma(Candidates c not None, double n):
    """Keep the candidates with a logit of at least the best less n standard deviations of all finite ones."""
    cdef double mean, deviation
    check("n", n, 0.0, 1e6)
    with nogil:
        moments(c, &mean, &deviation)
        c._keep_from(<float>max(c.peak - n * deviation, -<double>FLT_MAX))


def dynamic_temperature(Candidates c not None, double t, double reach, double exponent):
    """Divide by a temperature in [t - reach, t + reach] that grows with the entropy; t - reach not below 0."""
    cdef double mean, deviation, low = max(t - reach, 0.0), share
    cdef int n
    check("t", t, 0.0, 1e6)
    check("reach", reach, 0.0, 1e6)
    check("exponent", exponent, 0.0, 1e6)
    with nogil:
        n = moments(c, &mean, &deviation)
        if n > 1:
            share = min(spread(c).entropy / log(<double>n), 1.0)
            c._temperature(<float>max(low + (t + reach - low) * pow(share, exponent), 1e-30))


def quadratic(Candidates c not None, double factor, double curve):
    """Bend the logits by the square and the cube of how far they are below the best."""
    check("factor", factor, 0.0, 1e6)
    check("curve", curve, 1.0, 100.0)
    with nogil:
        bend(c, factor, curve)
