"""Dry: "don't repeat yourself", a penalty that grows with the length of the repetition that a token would extend."""

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
    """Subtracts `multiplier` * `base`**(n - `allowed`) from the logit of a token that would extend a repetition.

    n is the length of the longest suffix of the history that occurred earlier and was followed by that token; only
    n >= `allowed` is penalized. The suffix does not extend over a sequence breaker (a newline, a colon), and a breaker
    that is one token is never penalized. P-e-w's DRY (text-generation-webui #5677), with breakers found as in
    KoboldCpp and llama.cpp. A finite logit stays finite.

    Parameters
    ----------
    multiplier, base : float
    allowed : int
        Smallest length of a penalized repetition; at least 1.
    breakers : mapping of int to set of tuple of int
        First token of a breaker -> the token sequences that complete it; () if that token completes it. See
        `TokenBytes.sequence_breakers`.
    n_vocab : int
        Number of tokens of the model.
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
        """Lower the logits of tokens that would extend a repetition."""
        ids = np.ascontiguousarray(history, np.int32)
        token_filters.dry(candidates, ids, self._limit(ids), self.multiplier, self.base, self.allowed, self._exempt)

    def _limit(self, ids: NDArray[np.int32]) -> int:
        """Return the number of tokens after the last breaker."""
        if not self.breakers or (len(ids) and not 0 <= ids.min() <= ids.max() < self.n_vocab):
            return len(ids)  # the kernel raises the error for such a history
        at: int
        for at in np.flatnonzero(self._begins[ids])[::-1].tolist():
            following = tuple(ids[at + 1 : at + 1 + self._longest].tolist())
            rests = self.breakers[int(ids[at])]
            found = [n for n in range(len(following) + 1) if following[:n] in rests]
            if found:
                return len(ids) - at - 1 - found[-1]
        return len(ids)
