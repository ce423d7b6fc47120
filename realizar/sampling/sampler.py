"""Sampler, StatefulSampler, ForkableSampler: the interfaces of the samplers in a chain."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from realizar._kernels.sampling import Candidates

History = Sequence[int] | NDArray[np.int32]


class Sampler(Protocol):
    """Removes candidates for the next token, or changes their logits."""

    def apply(self, candidates: Candidates, history: History) -> None:
        """Change the candidates; at least one must be left.

        Parameters
        ----------
        candidates : Candidates
            Token ids and logits. A sampler changes them only through the methods of this class.
        history : sequence of int
            The tokens before the next one, oldest first, prompt included.
        """


@runtime_checkable
class StatefulSampler(Sampler, Protocol):
    """A sampler whose state depends on the tokens chosen before; each sequence has its own copy."""

    def reset_copy(self) -> StatefulSampler:
        """Return a copy in the initial state, for another sequence."""

    def accept(self, candidates: Candidates, token_id: int) -> None:
        """Update the state with a chosen token; `candidates.drawn_p` is the probability with which it was drawn."""


@runtime_checkable
class ForkableSampler(StatefulSampler, Protocol):
    """A stateful sampler that can follow several continuations of one sequence, as beam search requires."""

    def fork(self) -> ForkableSampler:
        """Return a copy in the same state; called just before `accept`."""
