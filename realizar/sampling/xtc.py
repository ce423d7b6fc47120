"""Xtc: exclude top choices, now and then, where there is more than one good one."""

from __future__ import annotations

from dataclasses import dataclass

from realizar._kernels import diversity
from realizar._kernels.sampling import Candidates
from realizar.sampling.sampler import History


@dataclass(frozen=True)
class Xtc:
    """With this `probability`, drops all candidates with p_i >= `threshold` but the least probable of them.

    So what is left has a good candidate still. P-e-w's XTC (text-generation-webui #6335), as in llama.cpp: a threshold
    above one half does nothing. Whether it acts is a number of its own of (seed, position, draw number).
    """

    probability: float
    threshold: float = 0.1

    def apply(self, candidates: Candidates, history: History) -> None:
        """Drop them, or do nothing."""
        if candidates.uniform() < self.probability and self.threshold <= 0.5:
            diversity.xtc(candidates, self.threshold)
