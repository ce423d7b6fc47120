"""Requests: what was asked of an engine, what has come out so far, and why it ended."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from realizar.engine.sequence import Chunk, Sequence
from realizar.sampling import StopFilter

if TYPE_CHECKING:
    import numpy.typing as npt

    from realizar.params import SamplingParams
    from realizar.sampling import Sampled, SamplerChain
    from realizar.tokenizer import Tokenizer

    Logits = npt.NDArray[np.float32]

SCORE_ROWS = 64
"""Rows of logits per step when all are wanted: of a vocabulary of 150,000 they take 37 MiB."""


@dataclass(frozen=True)
class Timings:
    """What a request took.

    Attributes
    ----------
    n_prompt, n_cached, n_generated : int
        Tokens of the prompt; those of them found in the cache; tokens generated.
    prefill_s : float
        Seconds from the first step that worked on the prompt to the first token.
    decode_s : float
        Seconds from the first token to the last.
    """

    n_prompt: int
    n_cached: int
    n_generated: int
    prefill_s: float
    decode_s: float

    @property
    def prefill_tok_s(self) -> float:
        """Tokens of the prompt computed per second."""
        return (self.n_prompt - self.n_cached) / self.prefill_s if self.prefill_s else 0.0

    @property
    def decode_tok_s(self) -> float:
        """Tokens after the first per second."""
        return (self.n_generated - 1) / self.decode_s if self.decode_s else 0.0


@dataclass(frozen=True)
class Completion:
    """The answer to one prompt.

    Attributes
    ----------
    text : str
        What was generated, without the stop string.
    token_ids : list of int
        The tokens generated, the one that ended the text included.
    finish_reason : {"stop", "length", "cancelled"}
        Whether the text came to an end, or to the end of max_tokens or the context, or was given up.
    stop_reason : int | str | None
        The token id or the stop string that ended it.
    logprobs : list of Sampled | None
        If asked for, each token's `token_id`, its `logprob` under the model, and the best in its place: `top`, pairs of
        id and logprob. Natural logarithms, before temperature, penalties and truncation.
    timings : Timings
    """

    text: str
    token_ids: list[int]
    finish_reason: Literal["stop", "length", "cancelled"]
    stop_reason: int | str | None
    logprobs: list[Sampled] | None
    timings: Timings


class Request(ABC):
    """What every request has: a sequence, and a way to end.

    Parameters
    ----------
    seq : Sequence
        Its prompt.
    n_max : int
        Tokens that the cache has to hold for it at most.

    Attributes
    ----------
    output : str
        Which value of the program the request goes on with.
    """

    output = "logits"

    def __init__(self, seq: Sequence, n_max: int) -> None:
        self.seq = seq
        self.n_max = min(n_max, seq.cache.n_ctx)
        self.finished = False
        self.cancelled = False
        self.error: Exception | None = None

    @property
    def is_over(self) -> bool:
        """Whether nothing more will come."""
        return self.finished or self.cancelled or self.error is not None

    def cancel(self) -> None:
        """Give the request up. Any thread may; the next step gives its memory back."""
        self.cancelled = True

    def source_chunk(self) -> Chunk:
        """Return the sequence's source as what to compute next; no output of it is wanted beside what is remembered."""
        return Chunk(self.seq, len(self.seq.source), 0, is_source=True)

    @abstractmethod
    def next_chunk(self, budget: int) -> Chunk:
        """Return what of the sequence to compute next: some tokens, at most `budget`."""

    @abstractmethod
    def take(self, logits: Logits) -> None:
        """Go on with the outputs of a chunk that has some: float32 [n_outputs, n], valid during the call."""


class Scoring(Request):
    """The logits of every token of a text, or of an answer to a source.

    Attributes
    ----------
    logits : float32 [n_tokens, n_vocab]
        Filled from the top; complete when finished.
    """

    def __init__(self, seq: Sequence, n_vocab: int) -> None:
        super().__init__(seq, seq.n_tokens)
        self.logits = np.empty((seq.n_tokens, n_vocab), np.float32)
        self._n = 0

    def next_chunk(self, budget: int) -> Chunk:
        """Return the next rows; nothing is taken over from the cache, since it keeps no logits."""
        n = min(self.seq.n_left, budget, SCORE_ROWS)
        return Chunk(self.seq, n, n)

    def take(self, logits: Logits) -> None:
        """Keep the rows."""
        self.logits[self._n : self._n + len(logits)] = logits
        self._n += len(logits)
        self.finished = self._n == len(self.logits)


class Encoding(Request):
    """The hidden states of every token of a text, for embeddings.

    Parameters
    ----------
    seq : Sequence
        With the text as its source where the model has an encoder, else as its tokens.
    n_embd : int
        Width of a state.
    output : str
        The value of the program that is the hidden state.

    Attributes
    ----------
    hidden : float32 [n_tokens, n_embd]
        Filled from the top; complete when finished.
    """

    def __init__(self, seq: Sequence, n_embd: int, output: str) -> None:
        super().__init__(seq, seq.n_tokens)
        self.output = output
        self.hidden = np.empty((seq.n_tokens or len(seq.source), n_embd), np.float32)
        self._n = 0

    def source_chunk(self) -> Chunk:
        """Return the whole text."""
        return Chunk(self.seq, len(self.seq.source), len(self.seq.source), is_source=True)

    def next_chunk(self, budget: int) -> Chunk:
        """Return the next tokens; nothing is taken over from the cache, since it keeps no hidden states."""
        n = min(self.seq.n_left, budget)
        return Chunk(self.seq, n, n)

    def take(self, hidden: Logits) -> None:
        """Keep the rows."""
        self.hidden[self._n : self._n + len(hidden)] = hidden
        self._n += len(hidden)
        self.finished = self._n == len(self.hidden)


def end_ids(params: SamplingParams, tokenizer: Tokenizer) -> frozenset[int]:
    """Return the tokens that end a text."""
    return frozenset(params.stop_token_ids) | (frozenset() if params.ignore_eos else tokenizer.eog_ids)


class Generation(Request):
    """A text to be continued, or a source to be answered.

    Parameters
    ----------
    seq : Sequence
        The prompt; behind a source, what the answer begins with.
    params : SamplingParams
    sampler : SamplerChain
        Chooses the tokens.
    tokenizer : Tokenizer
        Turns tokens into text and knows which ones end it.

    Attributes
    ----------
    pieces : deque of str
        Text that nobody has fetched yet.
    """

    def __init__(
        self, seq: Sequence, params: SamplingParams, sampler: SamplerChain, tokenizer: Tokenizer
    ) -> None:  # fmt: skip
        self.max_tokens = seq.cache.n_ctx if params.max_tokens is None else params.max_tokens
        super().__init__(seq, seq.n_tokens + self.max_tokens - 1)
        self.params = params
        self.pieces: deque[str] = deque()
        self.token_ids: list[int] = []
        self.logprobs: list[Sampled] = []
        self.end: tuple[Literal["stop", "length"], int | str | None] | None = None
        self._sampler = sampler
        self._decoder = tokenizer.stream(after=None if len(seq.source) else int(seq.tokens[-1]))
        self._stops = StopFilter(params.stop)
        self._end_ids = end_ids(params, tokenizer)
        self._text: list[str] = []
        self._n_prompt = len(seq.source) or seq.n_tokens
        self._n_cached = 0
        self._t_begin = self._t_first = self._t_last = 0.0

    def source_chunk(self) -> Chunk:
        """Return the source, once."""
        self._t_begin = self._t_begin or time.perf_counter()
        return super().source_chunk()

    def next_chunk(self, budget: int) -> Chunk:
        """Return the next tokens, after taking over what the cache holds; only the very last gives an output."""
        seq = self.seq
        if not seq.n_computed:
            self._t_begin = self._t_begin or time.perf_counter()
            seq.match_prefix()
            self._n_cached = seq.n_cached
        n = seq.cut(min(seq.n_left, budget))
        return Chunk(seq, n, int(n == seq.n_left))

    def take(self, logits: Logits) -> None:
        """Sample a token, add it to the text, and see whether that ends it."""
        sampled = self._sampler.sample(logits[0], self.seq.tokens, self.seq.n_tokens)
        token = sampled.token_id
        if sampled.logprob is not None:
            self.logprobs.append(sampled)
        self._t_last = time.perf_counter()
        self._t_first = self._t_first or self._t_last
        self.token_ids.append(token)
        if token in self._end_ids:
            self._finish("stop", token)
            return
        self.seq.append(token)
        hit = self._emit(self._decoder.push(token))
        if hit is not None:
            self._finish("stop", hit)
        elif len(self.token_ids) == self.max_tokens or self.seq.is_full:
            self._finish("length", None)

    def _emit(self, piece: str) -> str | None:
        """Pass a piece on, less what may become a stop string; return the stop string it completed."""
        text, hit = self._stops.push(piece)
        self._add(text)
        return hit

    def _add(self, text: str) -> None:
        if text:
            self._text.append(text)
            self.pieces.append(text)

    def _finish(self, reason: Literal["stop", "length"], stop: int | str | None) -> None:
        """End the request; text held back, as half a character or half a stop string, comes out now."""
        if not isinstance(stop, str):
            hit = self._emit(self._decoder.flush())
            if hit is None:
                self._add(self._stops.flush())
            else:
                reason, stop = "stop", hit
        self.end = (reason, stop)
        self.finished = True
        del self._sampler  # its candidates are megabytes, and the answer may be kept

    def completion(self) -> Completion:
        """Return the answer as far as it has come."""
        timings = Timings(
            self._n_prompt, self._n_cached, len(self.token_ids),
            self._t_first - self._t_begin if self._t_first else 0.0, self._t_last - self._t_first,
        )  # fmt: skip
        reason, stop = self.end or ("cancelled", None)
        logprobs = None if self.params.logprobs is None else self.logprobs
        return Completion("".join(self._text), self.token_ids, reason, stop, logprobs, timings)
