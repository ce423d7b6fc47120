"""TopK, TopP and MinP: leave the improbable out. Of equal logits the lower id is the better one."""

from __future__ import annotations

from dataclasses import dataclass

from realizar._kernels.sampling import Candidates
from realizar.sampling.sampler import History


@dataclass(frozen=True)
class TopK:
    """Keeps the `k` >= 1 best candidates."""

    k: int

    def apply(self, candidates: Candidates, history: History) -> None:
        """Drop the others."""
        candidates.top_k(min(self.k, candidates.n))


@dataclass(frozen=True)
class TopP:
    """Keeps the smallest set of best candidates whose probabilities sum to at least `p`, and never less than one.

    Holtzman et al., "The curious case of neural text degeneration" (2020).
    """

    p: float

    def apply(self, candidates: Candidates, history: History) -> None:
        """Drop the others."""
        candidates.top_p(self.p)


@dataclass(frozen=True)
class MinP:
    """Keeps the candidates that are at least `p` times as probable as the best one.

    Nguyen et al., "Turning up the heat: min-p sampling" (2024).
    """

    p: float

    def apply(self, candidates: Candidates, history: History) -> None:
        """Drop the others."""
        candidates.min_p(self.p)
