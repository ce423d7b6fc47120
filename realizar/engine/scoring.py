"""Requests that generate nothing: logits, logprobs, hidden states and classes of a text, and pooled embeddings."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence as Seq
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from realizar.engine.cache.chunk import Chunk
from realizar.engine.request import Request
from realizar.engine.token_logprobs import TokenLogprobs
from realizar.errors import ParameterError, RealizarError, short_repr
from realizar.params.checks import check, is_int
from realizar.sampling import logprobs

if TYPE_CHECKING:
    from realizar._kernels.sampling import Candidates
    from realizar.engine.cache.sequence import Sequence
    from realizar.runtime.logit_rows import LogitRows

Rows = npt.NDArray[np.float32]


SCORE_ROWS = 64
"""Rows of logits per step when all are wanted: of a vocabulary of 150,000 they take 37 MiB."""


class LogitsRequest(Request):
    """The logits at every token of a text, or of an answer to an encoder input.

    Attributes
    ----------
    logits : float32 [n_tokens, n_vocab]
        Filled from the top; complete when finished.
    """

    def __init__(self, seq: Sequence, n_vocab: int) -> None:
        super().__init__(seq, seq.n_tokens)
        self.logits = np.empty((seq.n_tokens, n_vocab), np.float32)
        self._n = 0

    @property
    def finished(self) -> bool:
        """Whether every row is computed."""
        return self._n == len(self.logits)

    def next_chunks(self, budget: int) -> list[Chunk]:
        """Return the next tokens; the prefix cache is not used, since it keeps no logits."""
        n = self.seq.with_same_adapters(min(self.seq.n_left, budget))
        n = self.seq.whole_spans(min(n, SCORE_ROWS), most=n)
        return [Chunk(self.seq, n, n)] if n else []

    def take(self, chunks: Seq[Chunk], rows: LogitRows) -> None:
        """Keep the rows; RealizarError if no token could be sampled from one of them (NaN, +inf, or all -inf)."""
        values = rows.values
        top = values.max()  # NaN if there is one
        if not np.isfinite(top):
            raise _error("logit", values, np.isnan(values) | (values == np.inf), chunks[0].n_past)
        self._n = chunks[0].n_past + len(values)  # those before may be computed again
        self.logits[chunks[0].n_past : self._n] = values


class EmbeddingRequest(Request):
    """The hidden states of every token of a text, for embeddings.

    Parameters
    ----------
    seq : Sequence
        Holds the text as its encoder input if the model has an encoder, else as its tokens.
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
        self.hidden = np.empty((seq.n_tokens or len(seq.encoder_tokens), n_embd), np.float32)
        self._n = 0

    def encoder_chunk(self) -> Chunk | None:
        """Return the whole text, where an encoder reads it."""
        if self.seq.encoder_computed:
            return None
        return Chunk(self.seq, len(self.seq.encoder_tokens), len(self.seq.encoder_tokens), is_encoder_input=True)

    @property
    def finished(self) -> bool:
        """Whether every row is computed."""
        return self._n == len(self.hidden)

    def next_chunks(self, budget: int) -> list[Chunk]:
        """Return the next tokens; the prefix cache is not used, since it keeps no hidden states."""
        n = self.seq.whole_spans(min(self.seq.n_left, budget))
        return [Chunk(self.seq, n, n)] if n else []

    def take(self, chunks: Seq[Chunk], rows: Rows) -> None:
        """Keep the rows; RealizarError if one of them holds a number that is not finite."""
        finite = np.isfinite(rows)
        if not finite.all():
            raise _error("state", rows, ~finite, chunks[0].n_past)
        self._n = chunks[0].n_past + len(rows)  # those before may be computed again
        self.hidden[chunks[0].n_past : self._n] = rows


class RankRequest(Request):
    """The output of the classification head for a text.

    Parameters
    ----------
    seq : Sequence
        Holds the text as its encoder input if the model has an encoder, else as its tokens.
    n_class : int
        Width of the output.
    output : str
        Which output of the program "rank".

    Attributes
    ----------
    hidden : float32 [1, n_class]
        The output, in place of hidden states; complete when finished.
    """

    program = "rank"

    def __init__(self, seq: Sequence, n_class: int, output: str) -> None:
        super().__init__(seq, seq.n_tokens)
        self.output = output
        self.hidden = np.empty((1, n_class), np.float32)
        self._is_done = False

    def encoder_chunk(self) -> Chunk | None:
        """Return the whole text, where an encoder reads it; the output is that of its last token."""
        if self.seq.encoder_computed:
            return None
        return Chunk(self.seq, len(self.seq.encoder_tokens), 1, is_encoder_input=True)

    @property
    def finished(self) -> bool:
        """Whether the output is computed."""
        return self._is_done

    def next_chunks(self, budget: int) -> list[Chunk]:
        """Return the next tokens, after a prefix-cache match; the last one gives the output."""
        if not self.seq.n_computed:
            self.seq.match_prefix()
        n = self.seq.cut(min(self.seq.n_left, budget))
        return [Chunk(self.seq, n, int(n == self.seq.n_left))] if n else []

    def take(self, chunks: Seq[Chunk], rows: Rows) -> None:
        """Keep the output; RealizarError if it holds a number that is not finite."""
        finite = np.isfinite(rows)
        if not finite.all():
            raise _error("class", rows, ~finite, chunks[-1].n_past + chunks[-1].n_tokens - 1)
        self.hidden[0] = rows[-1]
        self._is_done = True


def _error(what: str, rows: Rows, bad: npt.NDArray[np.bool_], n_before: int) -> RealizarError:
    """Return the error that names the first bad number of some rows, after n_before earlier ones."""
    found = np.argwhere(bad)
    if not len(found):
        return RealizarError(f"all {what}s after a token are -inf; the file may be damaged")
    row, column = found[0]
    return RealizarError(
        f"{what} {column} after token {n_before + row} is {rows[row, column]}; the file may be damaged, or an f16 "
        "value overflowed (try kv_type='f32')"
    )


@dataclass(frozen=True)
class Score:
    """The log-probability of a text after another one.

    Attributes
    ----------
    token_ids : list of int
        Its tokens.
    logprobs : list of TokenLogprobs
        The logprob of each token, and the most probable tokens at its position.
    """

    token_ids: list[int]
    logprobs: list[TokenLogprobs]

    @property
    def logprob(self) -> float:
        """The text's log-probability: the sum of its tokens'."""
        return sum(each.logprob for each in self.logprobs)

    @property
    def is_greedy(self) -> bool:
        """Whether each token is the most probable one in its place."""
        return all(sampled.token_id == sampled.top[0][0] for sampled in self.logprobs)


class PromptLogprobs:
    """The log-probabilities of a run of tokens in a text, filled in as the tokens before each are computed.

    Parameters
    ----------
    tokens : int32 [n]
        The token ids of the run.
    first : int
        Where in the text it begins; at least 1, since a first token has no prediction.
    n_top : int
        How many of the best tokens to report in each place.
    candidates : Candidates
        Scratch memory, which other requests may share.
    bytes_of : callable
        Returns the bytes of a token.

    Attributes
    ----------
    found : list of TokenLogprobs
    """

    def __init__(
        self, tokens: npt.NDArray[np.int32], first: int, n_top: int, candidates: Candidates,
        bytes_of: Callable[[int], bytes],
    ) -> None:  # fmt: skip
        self._tokens = tokens
        self._first = first
        self._n_top = n_top
        self._candidates = candidates
        self._bytes_of = bytes_of
        self.found: list[TokenLogprobs] = []

    @property
    def is_whole(self) -> bool:
        """Whether every token has a log-probability."""
        return len(self.found) == len(self._tokens)

    def next_chunks(self, seq: Sequence, budget: int) -> list[Chunk]:
        """Return what to compute next of the sequence: never the last token of the run, which predicts another."""
        before = self._first - 1  # the row that the first one is read off
        n = seq.n_computed
        end = min(n + budget, before + len(self._tokens), max(n, before) + SCORE_ROWS)
        end = n + seq.cut(end - n)
        return [Chunk(seq, end - n, max(0, end - max(n, before)))] if end > n else []

    def take(self, chunk: Chunk, rows: LogitRows) -> None:
        """Read the log-probabilities from the rows of a chunk."""
        at = max(0, chunk.n_past - self._first + 1)
        del self.found[at:]  # a step that was interrupted may be made again
        for token, row in zip(self._tokens[at:], rows, strict=False):
            sampled = logprobs.token_logprob(self._candidates, row, int(token), self._n_top)
            self.found.append(TokenLogprobs.of(sampled, self._bytes_of))


class ScoreRequest(Request):
    """A request for the log-probabilities of some tokens of a text.

    Parameters
    ----------
    seq : Sequence
        The text without its last token.
    wanted : PromptLogprobs
        The log-probabilities of its last tokens.
    n_given : int
        Leading tokens whose log-probabilities are not wanted, so that the prefix cache may serve them.
    """

    def __init__(self, seq: Sequence, wanted: PromptLogprobs, n_given: int) -> None:
        super().__init__(seq, seq.n_tokens)
        self._wanted = wanted
        self._n_given = n_given

    @property
    def finished(self) -> bool:
        """Whether every token has a log-probability."""
        return self._wanted.is_whole

    def next_chunks(self, budget: int) -> list[Chunk]:
        """Return the next tokens, after a prefix-cache match over those whose log-probabilities are not wanted."""
        if not self.seq.n_computed:
            self.seq.match_prefix(self._n_given - 1)
        return self._wanted.next_chunks(self.seq, budget)

    def take(self, chunks: Seq[Chunk], rows: LogitRows) -> None:
        """Read the log-probabilities from the rows."""
        self._wanted.take(chunks[0], rows)

    def score(self) -> Score:
        """Return the result, once it is finished."""
        found = self._wanted.found
        return Score([each.token_id for each in found], found)


_POOL: dict[str, Callable[[Rows], Rows]] = {
    "mean": lambda hidden: hidden.mean(axis=0),
    "cls": lambda hidden: hidden[0],
    "last": lambda hidden: hidden[-1],
    "rank": lambda hidden: hidden[-1],
}


def pooler(
    pooling: str | None, normalize: bool, dimensions: int | None = None, n_embd: int = 0
) -> Callable[[Seq[Rows]], Any]:  # fmt: skip
    """Return the pooling function: hidden states, a list of float32 [n_tokens, n_embd], to float32 [n_texts, n_embd].

    Without pooling it returns the states, and with pooling "rank", whose only state is the output of the head, that.
    Of the vectors it keeps the first `dimensions` elements (https://arxiv.org/abs/2205.13147).

    Raises
    ------
    ParameterError
        If there is no such pooling, or there are no vectors of so many dimensions.
    """
    if dimensions is not None:
        if pooling in (None, "rank"):
            raise ParameterError(f"dimensions={short_repr(dimensions)}: pooling={pooling!r} gives no vectors to cut")
        check(
            is_int(dimensions) and 1 <= dimensions <= n_embd, "dimensions", dimensions, f"an integer in [1, {n_embd}]"
        )
    if pooling is None:
        return list
    if not isinstance(pooling, str) or pooling not in _POOL:
        raise ParameterError(f"pooling={short_repr(pooling)}: must be 'auto', 'mean', 'cls', 'last', 'rank' or None")
    pool, is_vector = _POOL[pooling], pooling != "rank"

    def pooled(states: Seq[Rows]) -> Rows:
        if not states:
            return np.zeros((0, dimensions or n_embd), np.float32)
        vectors = np.array([pool(hidden)[:dimensions] for hidden in states], np.float32)
        if normalize and is_vector:
            length = np.linalg.norm(vectors, axis=1, keepdims=True)
            vectors = np.divide(vectors, length, out=vectors, where=length > 0)
        return vectors

    return pooled
