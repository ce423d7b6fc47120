"""Dry: "don't repeat yourself", a penalty that grows with the length of the repetition that a token would lengthen."""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from realizar._kernels import token_filters
from realizar._kernels.sampling import Candidates
from realizar.sampling.sampler import History

Breakers = Mapping[int, Set[tuple[int, ...]]]


@dataclass(frozen=True)
class Dry:
    """Subtracts `multiplier` * `base`**(n - `allowed`) from a token that n >= `allowed` repeated tokens would precede.

    n is the greatest number of tokens at the end of the text that stand somewhere before it in front of that token. A
    sequence breaker (a line's end, a colon) ends what counts as repeated, and is itself never penalized where it is one
    token. P-e-w's DRY (text-generation-webui #5677), with breakers as KoboldCpp and llama.cpp find them. A finite logit
    stays finite.

    Parameters
    ----------
    multiplier, base : float
    allowed : int
        At least 1.
    breakers : mapping of int to set of tuple of int
        First token of a breaker -> the token sequences that complete it; () if that token completes it. See
        `TokenBytes.sequence_breakers`.
    n_vocab : int
        Tokens there are.
    """

    multiplier: float
    base: float
    allowed: int
    breakers: Breakers = field(repr=False)
    n_vocab: int
    _begins: NDArray[np.uint8] = field(init=False, repr=False, compare=False)
    _exempt: NDArray[np.uint8] = field(init=False, repr=False, compare=False)
    _longest: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        begins, exempt = np.zeros(self.n_vocab, np.uint8), np.zeros(self.n_vocab, np.uint8)
        begins[list(self.breakers)] = 1
        exempt[[token for token, rests in self.breakers.items() if () in rests]] = 1
        object.__setattr__(self, "_begins", begins)
        object.__setattr__(self, "_exempt", exempt)
        longest = max((len(rest) for rests in self.breakers.values() for rest in rests), default=0)
        object.__setattr__(self, "_longest", longest)

    def apply(self, candidates: Candidates, history: History) -> None:
        """Lower the logits of what would repeat."""
        ids = np.ascontiguousarray(history, np.int32)
        token_filters.dry(candidates, ids, self._limit(ids), self.multiplier, self.base, self.allowed, self._exempt)

    def _limit(self, ids: NDArray[np.int32]) -> int:
        """How many tokens stand behind the last breaker."""
        if not self.breakers or (len(ids) and not 0 <= ids.min() <= ids.max() < self.n_vocab):
            return len(ids)  # the kernel says what is wrong with such a history
        at: int
        for at in np.flatnonzero(self._begins[ids])[::-1].tolist():
            behind = tuple(ids[at + 1 : at + 1 + self._longest].tolist())
            rests = self.breakers[int(ids[at])]
            found = [n for n in range(len(behind) + 1) if behind[:n] in rests]
            if found:
                return len(ids) - at - 1 - found[-1]
        return len(ids)
