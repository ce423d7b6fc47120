"""Numbers computed from positions: relative position biases of scores (T5's buckets, ALiBi), and scales of queries."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

F32 = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]

MAX_DISTANCE = 128
"""Distance from which all keys share T5's last bucket; the same in every published model."""


def position_scales(attrs: Mapping[str, Any], positions: npt.NDArray[Any]) -> F32:
    """1 + factor * ln(1 + floor((position + offset) / period)), the attributes of the op `position_scale`."""
    steps = np.floor((positions.astype(np.float64) + attrs["offset"]) / attrs["period"])
    return np.asarray(1.0 + attrs["factor"] * np.log1p(steps), np.float32)


def position_bias(attrs: Mapping[str, Any], buckets: F32 | None, n_head: int, n: int) -> F32 | None:
    """The bias for each head and each distance key - query, -(n - 1) to n - 1: float32 [n_head, 2 n - 1].

    Parameters
    ----------
    attrs : dict
        Attributes of an attention op: `alibi`, `causal`.
    buckets : float32 [n_bucket, n_head] | None
        T5's learned biases.
    n_head : int
    n : int
        Maximum length of a sequence.

    Returns
    -------
    None if the attention has no position bias.
    """
    distance = np.arange(1 - n, n)
    if buckets is not None:
        return np.ascontiguousarray(buckets[bucket_of(distance, len(buckets), attrs["causal"])].T)
    if attrs["alibi"]:
        slopes = alibi_slopes(n_head, attrs["alibi"])
        return (-slopes[:, None] * np.abs(distance)).astype(np.float32)
    return None


def bucket_of(distance: Ints, n_bucket: int, causal: bool) -> Ints:
    """T5's bucket for a distance key - query (https://arxiv.org/abs/1910.10683, section 2.1).

    Each small distance has its own bucket, larger ones share buckets on a logarithmic scale. In bidirectional
    attention, one half of the buckets is for keys after the query and the other for keys before it.
    """
    far = np.maximum(-distance, 0)
    first = np.zeros_like(distance)
    if not causal:
        n_bucket //= 2
        far, first = np.abs(distance), np.where(distance > 0, n_bucket, 0)
    n_exact = n_bucket // 2
    ratio = np.maximum(far, 1).astype(np.float32) / np.float32(n_exact)  # float32, as in training
    scale = np.float32(math.log(MAX_DISTANCE / n_exact))
    shared = n_exact + (np.log(ratio) / scale * np.float32(n_bucket - n_exact)).astype(np.int64)
    return first + np.where(far < n_exact, far, np.minimum(shared, n_bucket - 1))


def alibi_slopes(n_head: int, max_bias: float) -> npt.NDArray[np.float64]:
    """ALiBi slope of each head (https://arxiv.org/abs/2108.12409): powers of 2^(-max_bias / n), n a power of two.

    If n_head is not a power of two, the heads beyond the greatest smaller one take every other slope of 2 n heads.
    """
    n = 2 ** int(math.log2(n_head))
    base, between = 2.0 ** (-max_bias / n), 2.0 ** (-max_bias / (2 * n))
    slopes = [base ** (h + 1) if h < n else between ** (2 * (h - n) + 1) for h in range(n_head)]
    return np.array(slopes)
