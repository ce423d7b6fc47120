"""Token filters: ban or allow tokens, or add a bias. They are applied before all other samplers."""

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
    """Adds a bias to the logits of some tokens, as (id, bias) pairs; -inf bans a token.

    Like `logit_bias` of OpenAI's API, llama.cpp and vLLM.
    """

    biases: tuple[tuple[int, float], ...]
    _ids: Ids = field(init=False, repr=False, compare=False)
    _values: NDArray[np.float32] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        ids, values = zip(*self.biases, strict=True)
        object.__setattr__(self, "_ids", np.array(ids, np.int32))
        object.__setattr__(self, "_values", np.array(values, np.float32))

    def apply(self, candidates: Candidates, history: History) -> None:
        """Add the biases."""
        token_filters.bias(candidates, self._ids, self._values)


@dataclass(frozen=True)
class SuppressedTokens:
    """Bans the tokens that the model file lists in tokenizer.ggml.suppress_tokens."""

    ids: tuple[int, ...]

    def apply(self, candidates: Candidates, history: History) -> None:
        """Ban them."""
        _ban(candidates, np.array(self.ids, np.int32))


@dataclass(frozen=True)
class AllowedTokens:
    """Keeps only these tokens (vLLM's `allowed_token_ids`)."""

    ids: tuple[int, ...]
    _ids: Ids = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_ids", np.unique(np.array(self.ids, np.int32)))

    def apply(self, candidates: Candidates, history: History) -> None:
        """Drop the others."""
        token_filters.keep(candidates, self._ids)


@dataclass(frozen=True)
class MinTokens:
    """Bans the end tokens until the history has `until` tokens (vLLM's `min_tokens`)."""

    until: int
    ids: tuple[int, ...]

    def apply(self, candidates: Candidates, history: History) -> None:
        """Ban the end tokens if the history is shorter."""
        if len(history) < self.until:
            _ban(candidates, np.array(self.ids, np.int32))


@dataclass(frozen=True)
class NoRepeatNgram:
    """Bans each token that would complete an n-gram of `size` tokens that already occurs in the history.

    Like `no_repeat_ngram_size` of transformers; Paulus et al., "A deep reinforced model for abstractive summarization"
    (2017), section 2.5.
    """

    size: int

    def apply(self, candidates: Candidates, history: History) -> None:
        """Ban the tokens that would repeat an n-gram."""
        token_filters.no_repeat(candidates, np.ascontiguousarray(history, np.int32), self.size)


@dataclass(frozen=True)
class TokenHealing:
    """When the history has `at` tokens, keeps only the tokens whose bytes begin with `start`.

    Token healing drops the prompt's last token, whose bytes are `start`, and resamples it with this filter (Lundberg,
    "The art of prompt design: prompt boundaries and token healing", 2023; guidance; transformers' `token_healing`).
    """

    at: int
    start: bytes
    token_bytes: TokenBytes = field(repr=False)

    def apply(self, candidates: Candidates, history: History) -> None:
        """Drop the other tokens, at this one position."""
        if len(history) == self.at:
            token_filters.keep(candidates, self.token_bytes.starting(self.start))


@dataclass(frozen=True)
class BadWords:
    """Bans each token that would complete one of these words, however the word is split into tokens.

    transformers and vLLM ban only the last token of the tokenizer's encoding of a word ("Swe" + "den" passes). This
    filter bans every token that contains a word and, after the beginning of a word, every token that begins with its
    rest.

    The work is linear in the total length of the words: the tokens that complete each beginning are looked up once.
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
        """Ban the tokens that would complete a word."""
        _ban(candidates, self._whole)
        tail = self.token_bytes.tail(np.asarray(history, np.int32), self._longest - 1)
        for i in range(1, min(self._longest - 1, len(tail)) + 1):
            ids = self._completions(tail[-i:])
            if len(ids):
                _ban(candidates, ids)

    def _completions(self, start: bytes) -> Ids:
        """Return the tokens that complete a word that begins with these bytes."""
        if start not in self._completing:
            first = bisect_left(self._sorted, start)
            words = takewhile(lambda word: word.startswith(start), islice(self._sorted, first, None))
            found = [self.token_bytes.starting(word[len(start) :]) for word in words if len(word) > len(start)]
            if not found:  # not cached: there are arbitrarily many such starts
                return np.empty(0, np.int32)
            self._completing[start] = np.unique(np.concatenate(found))
        return self._completing[start]
