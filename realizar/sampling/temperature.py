"""Temperature and Greedy: how much chance there is in the choice."""

from __future__ import annotations

from dataclasses import dataclass

from realizar._kernels.sampling import Candidates
from realizar.sampling.sampler import History


@dataclass(frozen=True)
class Temperature:
    """Divides the logits by `t` > 0: below 1 the probable become more probable.

    The logits become (logit - best) / t, which softmax cannot tell from logit / t, and which no tiny t makes overflow.
    """

    t: float

    def apply(self, candidates: Candidates, history: History) -> None:
        """Scale all logits."""
        candidates.temperature(self.t)


@dataclass(frozen=True)
class Greedy:
    """Keeps the best candidate alone; of equals the one with the lowest id."""

    def apply(self, candidates: Candidates, history: History) -> None:
        """Drop the others."""
        candidates.greedy()
