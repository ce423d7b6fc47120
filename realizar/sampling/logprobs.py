"""Log-probabilities of tokens, computed from the model's raw logits."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from realizar._kernels.sampling import Candidates
from realizar.errors import RealizarError
from realizar.runtime.logit_rows import LogitRow


class Sampled(NamedTuple):
    """A token of a sequence with its logprobs.

    `logprob` and the (id, logprob) pairs of `top`, best first, are the log-softmax of the model's raw logits, before
    any sampler (as vLLM reports them by default). `rank` is 1 + the number of more probable tokens. None, [] and 0 if
    not requested.
    """

    token_id: int
    logprob: float | None
    top: list[tuple[int, float]]
    rank: int = 0

    @classmethod
    def of(cls, row: LogitRow, token_id: int, normalizer: float, top: list[tuple[int, float]]) -> Sampled:
        """Return a token with what `best` returns, and its rank."""
        logit = row.values[token_id]
        return cls(token_id, float(logit) - normalizer, top, 1 + int(np.count_nonzero(row.values > logit)))


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
    """Return log(sum(exp(logits))) and the (id, logprob) of the n_top best tokens, -1 for all; drops the others."""
    normalizer = candidates.log_sum_exp()
    n = len(candidates.token_ids) if n_top < 0 else n_top
    return normalizer, [(i, logit - normalizer) for i, logit in candidates.ranked(n)] if n else []


def token_logprob(candidates: Candidates, row: LogitRow, token_id: int, n_top: int) -> Sampled:
    """Return the logprob of a token, and those of the n_top best tokens at its position."""
    load(candidates, row)
    normalizer, top = best(candidates, n_top)
    return Sampled.of(row, token_id, normalizer, top)
