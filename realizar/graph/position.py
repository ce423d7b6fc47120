"""What the place of a key adds to its score, as a function of how far it is from the query: T5's buckets and ALiBi."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

F32 = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]

MAX_DISTANCE = 128
"""Distance from which on all keys share T5's last bucket; a constant of every published model."""


def position_bias(attrs: Mapping[str, Any], buckets: F32 | None, n_head: int, n: int) -> F32 | None:
    """The bias of a key for each head and each distance key - query from -(n - 1) to n - 1: float32 [n_head, 2 n - 1].

    Parameters
    ----------
    attrs : dict
        Of an attention: `alibi`, `causal`.
    buckets : float32 [n_bucket, n_head] | None
        T5's learned biases.
    n_head : int
    n : int
        Tokens that a sequence has at most.

    Returns
    -------
    None if places do not count.
    """
    distance = np.arange(1 - n, n)
    if buckets is not None:
        return np.ascontiguousarray(buckets[bucket_of(distance, len(buckets), attrs["causal"])].T)
    if attrs["alibi"]:
        slopes = alibi_slopes(n_head, attrs["alibi"])
        return (-slopes[:, None] * np.abs(distance)).astype(np.float32)
    return None


def bucket_of(distance: Ints, n_bucket: int, causal: bool) -> Ints:
    """T5's bucket of a distance key - query (https://arxiv.org/abs/1910.10683, section 2.1).

    Near keys have buckets of their own, those further away share them on a logarithmic scale. Without causality one
    half of the buckets is for keys behind the query and the other for those in front of it.
    """
    far = np.maximum(-distance, 0)
    first = np.zeros_like(distance)
    if not causal:
        n_bucket //= 2
        far, first = np.abs(distance), np.where(distance > 0, n_bucket, 0)
    n_exact = n_bucket // 2
    ratio = np.maximum(far, 1).astype(np.float32) / np.float32(n_exact)  # in float32, as the models were trained
    scale = np.float32(math.log(MAX_DISTANCE / n_exact))
    shared = n_exact + (np.log(ratio) / scale * np.float32(n_bucket - n_exact)).astype(np.int64)
    return first + np.where(far < n_exact, far, np.minimum(shared, n_bucket - 1))


def alibi_slopes(n_head: int, max_bias: float) -> npt.NDArray[np.float64]:
    """One slope for each head (https://arxiv.org/abs/2108.12409): powers of 2^(-max_bias / n), n a power of two.

    Where n_head is none, the heads beyond the greatest one below take every other slope of twice as many.
    """
    n = 2 ** int(math.log2(n_head))
    base, between = 2.0 ** (-max_bias / n), 2.0 ** (-max_bias / (2 * n))
    slopes = [base ** (h + 1) if h < n else between ** (2 * (h - n) + 1) for h in range(n_head)]
    return np.array(slopes)
