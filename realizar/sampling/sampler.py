"""Sampler: what every link of a chain is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

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


@runtime_checkable
class Learner(Sampler, Protocol):
    """A sampler that goes by what was chosen before; each chain has one of its own."""

    def fresh(self) -> Learner:
        """Return one of the same kind that has seen nothing."""

    def learn(self, candidates: Candidates, token_id: int) -> None:
        """Take note of a choice; `candidates.drawn_p` is the probability that it had."""


@runtime_checkable
class Branching(Learner, Protocol):
    """One that can follow several texts with the same beginning, as beam search needs it."""

    def fork(self) -> Branching:
        """Return one that has seen what this one has; called where the next token is about to be learnt."""
