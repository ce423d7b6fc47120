"""Xtc: exclude top choices, with some probability, if there are several probable candidates."""

from __future__ import annotations

from dataclasses import dataclass

from realizar._kernels import diversity
from realizar._kernels.sampling import Candidates
from realizar.sampling.sampler import History


@dataclass(frozen=True)
class Xtc:
    """With this `probability`, drops all candidates with p_i >= `threshold` except the least probable of them.

    So one probable candidate is left. P-e-w's XTC (text-generation-webui #6335), as in llama.cpp: a threshold above 0.5
    does nothing. Whether it acts is decided by a separate random number of (seed, position, draw number).
    """

    probability: float
    threshold: float = 0.1

    def apply(self, candidates: Candidates, history: History) -> None:
        """Drop the top choices, or do nothing."""
        if candidates.uniform() < self.probability and self.threshold <= 0.5:
            diversity.xtc(candidates, self.threshold)
