"""Log-probabilities of tokens, as the model's raw logits say them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from realizar._kernels.sampling import Candidates
from realizar.errors import RealizarError
from realizar.runtime.logit_rows import LogitRow


class Sampled(NamedTuple):
    """One token in its place, chosen or given.

    `logprob` and the (id, logprob) of `top`, best first, are natural logarithms of probabilities that the model gave:
    log-softmax of its raw logits, before any sampler (as vLLM reports them by default). None and [] if not asked for.
    """

    token_id: int
    logprob: float | None
    top: list[tuple[int, float]]


def load(candidates: Candidates, row: LogitRow) -> None:
    """Make every token a candidate; RealizarError if a logit is NaN or +inf, or all are -inf."""
    logits = row.values
    if candidates.load(logits, row.summaries):
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


def token_logprob(candidates: Candidates, row: LogitRow, token_id: int, n_top: int) -> Sampled:
    """Return the logprob of a given token, and those of the n_top best tokens at its position."""
    load(candidates, row)
    normalizer, top = best(candidates, n_top)
    return Sampled(token_id, float(row.values[token_id]) - normalizer, top)
