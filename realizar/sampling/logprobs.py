"""Log-probabilities of tokens, as the model's raw logits say them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from realizar._kernels.sampling import Candidates
from realizar.errors import RealizarError


class Sampled(NamedTuple):
    """One token in its place, chosen or given.

    `logprob` and the (id, logprob) of `top`, best first, are natural logarithms of probabilities that the model gave:
    log-softmax of its raw logits, before any sampler (as vLLM reports them by default). None and [] if not asked for.
    """

    token_id: int
    logprob: float | None
    top: list[tuple[int, float]]


def load(candidates: Candidates, logits: NDArray[np.float32]) -> None:
    """Make every token a candidate; RealizarError if a logit is NaN or +inf, or all are -inf."""
    if candidates.load(logits):
        return
    bad = np.flatnonzero(np.isnan(logits) | (logits == np.inf))
    found = f"logit {bad[0]} is {logits[bad[0]]} ({len(bad)} such)" if len(bad) else "all logits are -inf"
    raise RealizarError(
        f"no token can be chosen: {found}; the file may be damaged, or an f16 value overflowed (try kv_type='f32')"
    )


def best(candidates: Candidates, n_top: int) -> tuple[float, list[tuple[int, float]]]:
    """Return log(sum(exp(logits))) and the (id, logprob) of the n_top best, which are then the only candidates left."""
    normalizer = candidates.log_sum_exp()
    return normalizer, [(i, logit - normalizer) for i, logit in candidates.ranked(n_top)] if n_top else []


def given(candidates: Candidates, logits: NDArray[np.float32], token_id: int, n_top: int) -> Sampled:
    """Return what the model said of a token that is there, and of the n_top best in its place."""
    load(candidates, logits)
    normalizer, top = best(candidates, n_top)
    return Sampled(token_id, float(logits[token_id]) - normalizer, top)
