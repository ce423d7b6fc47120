"""Rules: which tokens a text may have at all, and a bias for some of them. They come in front of all other samplers."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field
from itertools import islice, takewhile

import numpy as np
from numpy.typing import NDArray

from realizar._kernels import token_filters
from realizar._kernels.sampling import Candidates
from realizar.sampling.sampler import History
from realizar.sampling.token_bytes import Ids, TokenBytes


def _ban(candidates: Candidates, ids: Ids) -> None:
    token_filters.bias(candidates, ids, np.full(len(ids), -np.inf, np.float32))


@dataclass(frozen=True)
class LogitBias:
    """Adds a number to the logits of some tokens, given as (id, bias) pairs; -inf bans a token.

    As `logit_bias` of OpenAI's interface, llama.cpp and vLLM.
    """

    biases: tuple[tuple[int, float], ...]
    _ids: Ids = field(init=False, repr=False, compare=False)
    _values: NDArray[np.float32] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        ids, values = zip(*self.biases, strict=True)
        object.__setattr__(self, "_ids", np.array(ids, np.int32))
        object.__setattr__(self, "_values", np.array(values, np.float32))

    def apply(self, candidates: Candidates, history: History) -> None:
        """Add."""
        token_filters.bias(candidates, self._ids, self._values)


@dataclass(frozen=True)
class SuppressedTokens:
    """Bans the tokens that a model's file says are never to be sampled (tokenizer.ggml.suppress_tokens)."""

    ids: tuple[int, ...]

    def apply(self, candidates: Candidates, history: History) -> None:
        """Ban."""
        _ban(candidates, np.array(self.ids, np.int32))


@dataclass(frozen=True)
class AllowedTokens:
    """Keeps the candidates that are one of these tokens (vLLM's `allowed_token_ids`)."""

    ids: tuple[int, ...]
    _ids: Ids = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_ids", np.unique(np.array(self.ids, np.int32)))

    def apply(self, candidates: Candidates, history: History) -> None:
        """Drop the others."""
        token_filters.keep(candidates, self._ids)


@dataclass(frozen=True)
class MinTokens:
    """Bans the tokens that end a text until the history has `until` tokens (vLLM's `min_tokens`)."""

    until: int
    ids: tuple[int, ...]

    def apply(self, candidates: Candidates, history: History) -> None:
        """Ban, or not."""
        if len(history) < self.until:
            _ban(candidates, np.array(self.ids, np.int32))


@dataclass(frozen=True)
class NoRepeatNgram:
    """Bans each token that would end a run of `size` tokens that is in the text already.

    As `no_repeat_ngram_size` of transformers; Paulus et al., "A deep reinforced model for abstractive summarization"
    (2017), section 2.5.
    """

    size: int

    def apply(self, candidates: Candidates, history: History) -> None:
        """Ban."""
        token_filters.no_repeat(candidates, np.ascontiguousarray(history, np.int32), self.size)


@dataclass(frozen=True)
class TokenHealing:
    """Keeps, where the history has `at` tokens, the candidates whose text begins with `start`.

    The other half of token healing is that the prompt's last token, whose text that is, was withdrawn (Lundberg, "The
    art of prompt design: prompt boundaries and token healing", 2023; guidance, transformers' `token_healing`).
    """

    at: int
    start: bytes
    token_bytes: TokenBytes = field(repr=False)

    def apply(self, candidates: Candidates, history: History) -> None:
        """Drop the others, or do nothing."""
        if len(history) == self.at:
            token_filters.keep(candidates, self.token_bytes.starting(self.start))


@dataclass(frozen=True)
class BadWords:
    """Bans each token that would complete one of these words in the text, however the text spells it in tokens.

    transformers and vLLM ban the last token of the word's own spelling alone ("Swe" + "den" gets by); here it is every
    token that has the word in it, and behind the beginning of one every token that begins with its rest.

    The work grows with the length of all words together: what may go on behind the beginning of some is looked up once.
    """

    words: tuple[str, ...]
    token_bytes: TokenBytes = field(repr=False)
    _whole: Ids = field(init=False, repr=False, compare=False)
    _sorted: list[bytes] = field(init=False, repr=False, compare=False)
    _longest: int = field(init=False, repr=False, compare=False)
    _completing: dict[bytes, Ids] = field(init=False, repr=False, compare=False, default_factory=dict)

    def __post_init__(self) -> None:
        raw = sorted({word.encode() for word in self.words})
        object.__setattr__(self, "_sorted", raw)
        object.__setattr__(self, "_longest", max(map(len, raw)))
        object.__setattr__(self, "_whole", self.token_bytes.containing_any(raw))

    def apply(self, candidates: Candidates, history: History) -> None:
        """Ban."""
        _ban(candidates, self._whole)
        tail = self.token_bytes.tail(np.asarray(history, np.int32), self._longest - 1)
        for i in range(1, min(self._longest - 1, len(tail)) + 1):
            ids = self._behind(tail[-i:])
            if len(ids):
                _ban(candidates, ids)

    def _behind(self, start: bytes) -> Ids:
        """Return the tokens that complete one of the words that begin so."""
        if start not in self._completing:
            first = bisect_left(self._sorted, start)
            words = takewhile(lambda word: word.startswith(start), islice(self._sorted, first, None))
            found = [self.token_bytes.starting(word[len(start) :]) for word in words if len(word) > len(start)]
            if not found:  # not kept: there are endlessly many of them
                return np.empty(0, np.int32)
            self._completing[start] = np.unique(np.concatenate(found))
        return self._completing[start]
