"""Penalties: make tokens that occurred before less probable (or more)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from realizar._kernels import token_filters
from realizar._kernels.sampling import Candidates
from realizar.sampling.sampler import History


@dataclass(frozen=True)
class Penalties:
    """Penalizes tokens by how often they occur in the last `last_n` tokens (-1: the whole history).

    For a token that occurs `count` > 0 times: a positive logit is divided by `repetition`, a negative one is multiplied
    by it (Keskar et al., "CTRL", 2019, with the usual correction for negative logits); then `presence` and
    `count * frequency` are subtracted. A finite logit stays finite, and -inf stays -inf.
    """

    repetition: float = 1.0
    presence: float = 0.0
    frequency: float = 0.0
    last_n: int = 64

    def apply(self, candidates: Candidates, history: History) -> None:
        """Change the logits of tokens in the history."""
        if self.last_n:
            last = history if self.last_n < 0 else history[-self.last_n :]
            last = np.ascontiguousarray(last, np.int32)
            token_filters.penalize(candidates, last, self.repetition, self.presence, self.frequency)
