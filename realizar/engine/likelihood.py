"""Likelihood: what the model would have said where a text is given, token by token; no row of logits is kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from realizar.engine.request import Request
from realizar.engine.scoring import SCORE_ROWS
from realizar.engine.sequence import Chunk
from realizar.sampling import logprobs

if TYPE_CHECKING:
    from collections.abc import Sequence as Seq

    import numpy as np
    import numpy.typing as npt

    from realizar._kernels.sampling import Candidates
    from realizar.engine.sequence import Sequence
    from realizar.runtime.logit_rows import LogitRows
    from realizar.sampling import Sampled



@dataclass(frozen=True)
class Score:
    """How likely a text is behind another one.

    Attributes
    ----------
    token_ids : list of int
        Its tokens.
    logprobs : list of Sampled
        Each token's `token_id`, its `logprob` under the model, and the best in its place: `top`, pairs of id and
        logprob. Natural logarithms.
    """

    token_ids: list[int]
    logprobs: list[Sampled]

    @property
    def logprob(self) -> float:
        """The text's log-probability: the sum of its tokens'."""
        return sum(sampled.logprob or 0.0 for sampled in self.logprobs)

    @property
    def is_greedy(self) -> bool:
        """Whether each token is the most probable one in its place."""
        return all(sampled.token_id == sampled.top[0][0] for sampled in self.logprobs)


class Likelihood:
    """The log-probabilities of a run of tokens in a text, filled in as the tokens before each are computed.

    Parameters
    ----------
    tokens : int32 [n]
        The run.
    first : int
        Where in the text it begins, 1 at least: nothing says how likely a first token is.
    n_top : int
        How many of the best tokens to report in each place.
    candidates : Candidates
        Room to work in, which others may share.

    Attributes
    ----------
    found : list of Sampled
    """

    def __init__(self, tokens: npt.NDArray[np.int32], first: int, n_top: int, candidates: Candidates) -> None:
        self._tokens = tokens
        self._first = first
        self._n_top = n_top
        self._candidates = candidates
        self.found: list[Sampled] = []

    @property
    def is_whole(self) -> bool:
        """Whether every token has its log-probability."""
        return len(self.found) == len(self._tokens)

    def next_chunk(self, seq: Sequence, budget: int) -> Chunk:
        """Return what to compute next of the sequence: never the last token of the run, which predicts another."""
        before = self._first - 1  # the row that the first one is read off
        n = seq.n_computed
        end = min(n + budget, before + len(self._tokens), max(n, before) + SCORE_ROWS)
        end = n + seq.cut(end - n)
        return Chunk(seq, end - n, max(0, end - max(n, before)))

    def take(self, chunk: Chunk, rows: LogitRows) -> None:
        """Read the log-probabilities off a chunk's rows."""
        at = max(0, chunk.n_past - self._first + 1)
        del self.found[at:]  # a step that was interrupted may be made again
        for token, row in zip(self._tokens[at:], rows, strict=False):
            self.found.append(logprobs.given(self._candidates, row, int(token), self._n_top))


class Scored(Request):
    """A text of which some tokens' log-probabilities are wanted.

    Parameters
    ----------
    seq : Sequence
        The text without its last token.
    likelihood : Likelihood
        Of its last tokens.
    n_given : int
        Tokens of the sequence that are not asked for, so that the cache may know them.
    """

    def __init__(self, seq: Sequence, likelihood: Likelihood, n_given: int) -> None:
        super().__init__(seq, seq.n_tokens)
        self._likelihood = likelihood
        self._n_given = n_given

    @property
    def finished(self) -> bool:
        """Whether every token has its log-probability."""
        return self._likelihood.is_whole

    def next_chunks(self, budget: int) -> list[Chunk]:
        """Return the next tokens, after taking over what the cache holds of those that are not asked for."""
        if not self.seq.n_computed:
            self.seq.match_prefix(self._n_given - 1)
        return [self._likelihood.next_chunk(self.seq, budget)]

    def take(self, chunks: Seq[Chunk], rows: LogitRows) -> None:
        """Read them off."""
        self._likelihood.take(chunks[0], rows)

    def score(self) -> Score:
        """Return the result, once it is finished."""
        found = self._likelihood.found
        return Score([sampled.token_id for sampled in found], found)
