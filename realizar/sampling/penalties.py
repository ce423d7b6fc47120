"""Penalties: make tokens that were there before less probable (or more)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from realizar._kernels import token_filters
from realizar._kernels.sampling import Candidates
from realizar.sampling.sampler import History


@dataclass(frozen=True)
class Penalties:
    """Penalizes tokens by how often they are among the last `last_n` tokens (-1: all of them).

    For a token that was there `count` > 0 times: a positive logit is divided by `repetition`, a negative one
    multiplied (Keskar et al., "CTRL", 2019, with the sign repaired as everybody does); then `presence` and
    `count * frequency` are subtracted. A finite logit stays finite, and -inf stays -inf.
    """

    repetition: float = 1.0
    presence: float = 0.0
    frequency: float = 0.0
    last_n: int = 64

    def apply(self, candidates: Candidates, history: History) -> None:
        """Change the logits of the tokens seen."""
        if self.last_n:
            last = history if self.last_n < 0 else history[-self.last_n :]
            last = np.ascontiguousarray(last, np.int32)
            token_filters.penalize(candidates, last, self.repetition, self.presence, self.frequency)
