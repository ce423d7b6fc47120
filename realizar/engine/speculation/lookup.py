"""Lookup: guesses that a text which repeats its own words goes on as it did before."""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING

from realizar._kernels import lookup
from realizar.engine.speculation.speculator import NO_GUESS, Guess, HitRate, Speculator

if TYPE_CHECKING:
    from collections.abc import Sequence as Seq

    import numpy as np
    import numpy.typing as npt

    from realizar.engine.generation import Answer
    from realizar.engine.speculation.speculator import Drafter

LONGEST = 32
"""Tokens that are compared; more make no surer."""
LEAST_CHANCE = 0.02
"""Guesses less probable than this do not count."""
# What follows 1, 2, 3, 4.., 6.., 9.., 13.., 20.. repeated tokens: one kind of guess each, and how often they were right
# in texts of Qwen2.5-Coder 0.5B, between those that repeat their prompts and those that do not.
_BOUNDS, _FIRST_RATES = (1, 2, 3, 4, 6, 9, 13, 20), (0.15, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)


class LookupDrafter:
    """Finds the longest end of a text that stands in it before, and guesses what followed there.

    Saxena, "Prompt Lookup Decoding" (2023); Yang et al., "Inference with Reference" (2023). How probable it is that
    the text follows is learnt from the text, by the length of what is repeated, also while nothing is tried.
    """

    def __init__(self) -> None:
        self._rates = HitRate(_FIRST_RATES)
        self._length = 0
        self._guess = NO_GUESS

    def guess(self, tokens: npt.NDArray[np.int32], n: int) -> Guess:
        """Return what may follow int32 [n_tokens], at most n tokens. Each that is right makes the next one surer."""
        self._length, found = lookup.repeat(tokens, LONGEST, n)
        chances, chance = [], 1.0
        for i in range(len(found)):
            chance *= self._rates.rates[self._kind(i)]
            if chance < LEAST_CHANCE:
                break
            chances.append(chance)
        self._guess = Guess(found, chances)
        return self._guess

    def _kind(self, i: int) -> int:
        """Return the kind of guess i of this text."""
        return bisect_right(_BOUNDS, self._length + i) - 1

    def learn(self, taken: Seq[int]) -> None:
        """Count how far the text followed the guess."""
        for i, (token, guessed) in enumerate(zip(taken, self._guess.tokens.tolist(), strict=False)):
            self._rates.learn(self._kind(i), token == guessed)
        self._guess = NO_GUESS

    def free(self) -> None:
        """Holds nothing."""


class LookupSpeculator(Speculator):
    """Guesses of what was said before, in the prompt or in the answer."""

    def drafter(self, answer: Answer) -> LookupDrafter:
        """Return one for a new text."""
        return LookupDrafter()

    def forget_programs(self) -> None:
        """Runs none."""

    def close(self) -> None:
        """Holds nothing."""

    def guesses(self, answers: Seq[Answer]) -> list[Guess]:
        """Return those of every text."""
        return [self._guess(answer, answer.drafter) for answer in answers]

    def _guess(self, answer: Answer, drafter: Drafter | None) -> Guess:
        tokens, n = answer.seq.tokens, self.n_draft(answer)
        return drafter.guess(tokens, n) if isinstance(drafter, LookupDrafter) else NO_GUESS
