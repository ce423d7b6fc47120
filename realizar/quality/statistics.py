"""Means with standard errors, sums that grow chunk by chunk, and the log-softmax of rows of logits."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

F64 = npt.NDArray[np.float64]
F32 = npt.NDArray[np.float32]

MAX_LOG = math.log(np.finfo(np.float64).max)


class Estimate(NamedTuple):
    """A mean over tokens, or a function of one, and its standard error.

    The error takes the tokens as independent, as llama.cpp does. Those of one text are not, so it is a lower bound.
    """

    value: float
    error: float

    def __str__(self) -> str:
        return f"{self.value:.4f} ± {self.error:.4f}"

    def exp(self) -> Estimate:
        """Return e to the power of it."""
        value = math.exp(self.value) if self.value < MAX_LOG else math.inf
        return Estimate(value, value * self.error)

    def sqrt(self) -> Estimate:
        """Return its square root."""
        value = math.sqrt(self.value)
        return Estimate(value, self.error / (2 * value) if value else 0.0)


class Mean:
    """The mean of numbers that come chunk by chunk.

    Attributes
    ----------
    n : int
        How many have come.
    """

    def __init__(self) -> None:
        self.n = 0
        self._sum = 0.0
        self._sum_of_squares = 0.0

    def add(self, values: F64) -> None:
        """Add the numbers of a chunk: float64 [n]."""
        self.n += len(values)
        self._sum += float(values.sum())
        self._sum_of_squares += float(values @ values)

    def estimate(self) -> Estimate:
        """Return the mean of all numbers so far; its error is 0 for fewer than two."""
        mean = self._sum / self.n
        variance = max(0.0, self._sum_of_squares / self.n - mean * mean)
        return Estimate(mean, math.sqrt(variance / (self.n - 1)) if self.n > 1 else 0.0)


def target_logprobs(logits: F32, targets: npt.NDArray[np.int32]) -> F64:
    """Return the natural log-probability of one token for each row.

    Parameters
    ----------
    logits : float32 [n, n_vocab]
    targets : int32 [n]
        The token whose log-probability is wanted in each row.

    Returns
    -------
    float64 [n]
        Computed row by row, so that scratch memory is that of one row.
    """
    return np.array(
        [float(row[target]) - log_sum_exp(row) for row, target in zip(logits, targets, strict=True)], np.float64
    )


def log_sum_exp(row: F32) -> float:
    """Return ln(sum of e**x) of a row of logits, summed in float64."""
    top = row.max()
    return float(top) + math.log(np.exp(row - top).sum(dtype=np.float64))


def kl_divergence(p: F64, q: F64) -> float:
    """Return KL(p || q) in nats of log-probabilities [n_vocab]; where p is -inf, its probability and the term are 0."""
    with np.errstate(invalid="ignore"):
        terms = np.exp(p) * (p - q)
    return float(np.nansum(terms))


def small_divergences(reference: F32, logits: F32) -> F64:
    """Return KL(softmax(reference) || softmax(logits)) of each row in nats, fast and also exact where it is tiny.

    With p = softmax(reference) and d = logits - reference, less its mean under p, the divergence is ln(mean of e**d) =
    log1p(mean of (e**d - 1)): no large terms cancel, so float32 is enough for the elements.

    Parameters
    ----------
    reference, logits : float32 [n, n_vocab]

    Returns
    -------
    float64 [n]
        Scratch memory is that of one row.
    """
    out = np.empty(len(reference))
    for i, (z, y) in enumerate(zip(reference, logits, strict=True)):
        p = np.exp(z - z.max())
        total = p.sum(dtype=np.float64)
        d = np.subtract(y, z, out=np.zeros_like(z), where=p > 0)
        d -= np.float32((p * d).sum(dtype=np.float64) / total)
        rest = (p * d).sum(dtype=np.float64) / total  # of the mean, which was rounded
        out[i] = math.log1p((p * np.expm1(d)).sum(dtype=np.float64) / total) - rest
    return out


def log_softmax(row: F32) -> F64:
    """Return the log-probabilities of a row of logits: float64 [n_vocab]."""
    wide = row.astype(np.float64)
    top = wide.max()
    return np.asarray(wide - (top + math.log(np.exp(wide - top).sum())))
