"""Guess: tokens that a text may go on with, and how probable it is that it does."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence as Seq

    import numpy.typing as npt


class Guess(NamedTuple):
    """What may come next: int32 [n], and of the first of them the probability that the text agrees up to each."""

    tokens: npt.NDArray[np.int32]
    chances: list[float]


NO_GUESS = Guess(np.empty(0, np.int32), [])


class Drafter(Protocol):
    """What guesses about one text go by."""

    def learn(self, taken: Seq[int]) -> None:
        """Take note of the tokens that followed the last guess, of which at most the last is another one."""

    def free(self) -> None:
        """Give back what it holds."""


class HitRate:
    """How often guesses were right of late, by their kind.

    Parameters
    ----------
    first : sequence of float
        What to believe of each kind at first; it weighs as much as `PRIOR` guesses.

    Attributes
    ----------
    rates : list of float
        Right ones among those seen, each weighing `MEMORY` times as much as the next.
    """

    MEMORY = 0.97
    PRIOR = 4.0

    def __init__(self, first: Seq[float]) -> None:
        self.rates = list(first)
        self._weights = [self.PRIOR] * len(first)

    def learn(self, kind: int, right: bool) -> None:
        """Count one more guess."""
        weight = self.MEMORY * self._weights[kind]
        self._weights[kind] = weight + 1.0
        self.rates[kind] = (weight * self.rates[kind] + right) / (weight + 1.0)
