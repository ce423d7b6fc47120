"""The confidence interval of a median, which asv_bench/compare.py reports for the ratios of its pairs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import comb
from statistics import median


@dataclass(frozen=True)
class Interval:
    """Where the true median lies.

    Attributes
    ----------
    median : float
        That of the values.
    low, high : float
        Two of the values.
    confidence : float
        How often such an interval has the true median in it.
    """

    median: float
    low: float
    high: float
    confidence: float


def median_interval(values: Sequence[float], confidence: float = 0.95) -> Interval:
    """The narrowest interval between the k-th lowest and the k-th highest value that is as sure as asked for.

    It misses the true median only if fewer than k of n independent values lie on one side of it, each of which is as
    likely as tails of a coin: the confidence is 1 - 2 P(Binomial(n, 1/2) < k). Nothing else is assumed about the
    values. Fewer than six values are too few for 0.95; then it is the interval from the lowest to the highest, and
    `confidence` says what that is worth.

    Parameters
    ----------
    values : sequence of float
        At least one.
    confidence : float
        That is asked for.
    """
    ordered, n = sorted(values), len(values)
    k = max((k for k in range(1, (n + 1) // 2 + 1) if _confidence(n, k) >= confidence), default=1)
    return Interval(median(ordered), ordered[k - 1], ordered[n - k], _confidence(n, k))


def _confidence(n: int, k: int) -> float:
    return 1 - 2 * sum(comb(n, i) for i in range(k)) / 2**n
