"""Sampler: what every link of a chain is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from realizar._kernels.sampling import Candidates

History = Sequence[int] | NDArray[np.int32]


class Sampler(Protocol):
    """Narrows or changes the candidates of one token."""

    def apply(self, candidates: Candidates, history: History) -> None:
        """Do so; at least one candidate must be left.

        Parameters
        ----------
        candidates : Candidates
            Token ids and logits; the methods of this class are all that a sampler can do to them.
        history : sequence of int
            The tokens before this one, prompt included, oldest first.
        """
