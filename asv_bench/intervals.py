"""Confidence interval of a median, for the paired ratios of asv_bench/compare.py."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import comb
from statistics import median


@dataclass(frozen=True)
class Interval:
    """A confidence interval of the true median.

    Attributes
    ----------
    median : float
        Median of the values.
    low, high : float
        Bounds, two of the values.
    confidence : float
        Probability that such an interval contains the true median.
    """

    median: float
    low: float
    high: float
    confidence: float


def median_interval(values: Sequence[float], confidence: float = 0.95) -> Interval:
    """Return the narrowest interval from the k-th lowest to the k-th highest value with the requested confidence.

    It misses the true median only if fewer than k of n independent values are on one side of it, each with probability
    1/2: the confidence is 1 - 2 P(Binomial(n, 1/2) < k). No other assumptions are made. Fewer than six values cannot
    reach 0.95; then the interval is the full range, and `confidence` is its actual confidence.

    Parameters
    ----------
    values : sequence of float
        At least one.
    confidence : float
        Requested confidence.
    """
    ordered, n = sorted(values), len(values)
    k = max((k for k in range(1, (n + 1) // 2 + 1) if _confidence(n, k) >= confidence), default=1)
    return Interval(median(ordered), ordered[k - 1], ordered[n - k], _confidence(n, k))


def _confidence(n: int, k: int) -> float:
    return 1 - 2 * sum(comb(n, i) for i in range(k)) / 2**n
