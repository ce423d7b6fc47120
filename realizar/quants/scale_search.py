"""Grid search of scales and minima that quantize a group of values with the smallest squared error."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from realizar.quants.blocks32 import inverse

F32 = NDArray[np.float32]

# Grid steps, in units of one quantization level; a wider grid gains nothing.
AFFINE_STEPS = np.arange(-10, 11, dtype=np.float32) / 10
SYMMETRIC_STEPS = np.arange(-9, 10, dtype=np.float32) / 10


def fit_affine(x: F32, n_max: int) -> tuple[F32, F32]:
    """Return scale s >= 0 and minimum m >= 0 such that x ≈ s * q - m with integers 0 <= q <= n_max.

    Starts from the scale that fits the extremes exactly. Each grid step around it gives a trial scale, from which q
    follows; then s and m are fitted to q by least squares.

    Parameters
    ----------
    x : float32[..., n]

    Returns
    -------
    tuple of float32[...]
        The scales and the minima.
    """
    low = np.minimum(x.min(axis=-1, keepdims=True), 0)
    width = np.maximum(x.max(axis=-1, keepdims=True), 0) - low
    best_s, best_m = width[..., 0] / n_max, -low[..., 0]
    best_error = _squared_error(x, np.rint((x - low) * inverse(best_s)[..., None]), best_s, best_m)
    for step in AFFINE_STEPS:
        q = np.clip(np.rint((x - low) * ((n_max + step) * inverse(width))), 0, n_max)
        s, m = _least_squares(x, q)
        error = _squared_error(x, q, s, m)
        better = error < best_error
        for best, value in ((best_s, s), (best_m, m), (best_error, error)):
            np.copyto(best, value, where=better)
    return best_s, best_m


def fit_symmetric(x: F32, n_max: int) -> F32:
    """Return scale s, of either sign, such that x ≈ s * q with integers -n_max <= q < n_max.

    For fixed q the best s is sum(xq) / sum(qq), which reduces the squared error by sum(xq)^2 / sum(qq).

    Parameters
    ----------
    x : float32[..., n]

    Returns
    -------
    float32[...]
    """
    extreme = np.take_along_axis(x, np.abs(x).argmax(axis=-1)[..., None], axis=-1)
    best_s = extreme[..., 0] / np.float32(-n_max)
    best_gain = np.full_like(best_s, -1)
    for step in SYMMETRIC_STEPS:
        q = np.clip(np.rint(x * (-(n_max + step) * inverse(extreme))), -n_max, n_max - 1)
        s = (x * q).sum(axis=-1) * inverse((q * q).sum(axis=-1))
        gain = s * (x * q).sum(axis=-1)
        better = gain > best_gain
        np.copyto(best_s, s, where=better)
        np.copyto(best_gain, gain, where=better)
    return best_s


def _squared_error(x: F32, q: F32, s: F32, m: F32) -> F32:
    error: F32 = np.square(s[..., None] * q - m[..., None] - x).sum(axis=-1)
    return error


def _least_squares(x: F32, q: F32) -> tuple[F32, F32]:
    n = np.float32(x.shape[-1])
    sum_x, sum_q = x.sum(axis=-1), q.sum(axis=-1)
    sum_xq, sum_qq = (x * q).sum(axis=-1), (q * q).sum(axis=-1)
    over = inverse(n * sum_qq - sum_q * sum_q)
    s = (n * sum_xq - sum_x * sum_q) * over
    m = (sum_q * sum_xq - sum_qq * sum_x) * over
    # A negative minimum cannot be stored; the fit then goes through zero.
    through_zero = m <= 0
    s = np.where(through_zero, sum_xq * inverse(sum_qq), s)
    return np.maximum(s, 0), np.where(through_zero, np.float32(0), m)
