"""Requests for rows of every token: logits of a text, or its hidden states."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from realizar.engine.request import Request
from realizar.engine.sequence import Chunk
from realizar.errors import RealizarError

if TYPE_CHECKING:
    from collections.abc import Sequence as Seq

    import numpy.typing as npt

    from realizar.engine.sequence import Sequence
    from realizar.runtime.logit_rows import LogitRows

    Rows = npt.NDArray[np.float32]

SCORE_ROWS = 64
"""Rows of logits per step when all are wanted: of a vocabulary of 150,000 they take 37 MiB."""


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

    @property
    def finished(self) -> bool:
        """Whether every row is there."""
        return self._n == len(self.logits)

    def next_chunks(self, budget: int) -> list[Chunk]:
        """Return the next tokens; nothing is taken over from the cache, since it keeps no logits."""
        n = min(self.seq.n_left, budget, SCORE_ROWS)
        return [Chunk(self.seq, n, n)]

    def take(self, chunks: Seq[Chunk], rows: LogitRows) -> None:
        """Keep the rows; RealizarError if one of them holds what `generate` could choose no token by."""
        values = rows.values
        top = values.max()  # NaN if there is one
        if not np.isfinite(top):
            raise _error("logit", values, np.isnan(values) | (values == np.inf), self._n)
        self.logits[self._n : self._n + len(rows)] = values
        self._n += len(rows)


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

    @property
    def finished(self) -> bool:
        """Whether every row is there."""
        return self._n == len(self.hidden)

    def next_chunks(self, budget: int) -> list[Chunk]:
        """Return the next tokens; nothing is taken over from the cache, since it keeps no hidden states."""
        n = min(self.seq.n_left, budget)
        return [Chunk(self.seq, n, n)]

    def take(self, chunks: Seq[Chunk], rows: Rows) -> None:
        """Keep the rows; RealizarError if one of them holds a number that is not finite."""
        finite = np.isfinite(rows)
        if not finite.all():
            raise _error("state", rows, ~finite, self._n)
        self.hidden[self._n : self._n + len(rows)] = rows
        self._n += len(rows)


def _error(what: str, rows: Rows, bad: npt.NDArray[np.bool_], n_before: int) -> RealizarError:
    """Return the error that names the first bad number of some rows, in front of which there were n_before."""
    found = np.argwhere(bad)
    if not len(found):
        return RealizarError(f"all {what}s behind a token are -inf; the file may be damaged")
    row, column = found[0]
    return RealizarError(
        f"{what} {column} behind token {n_before + row} is {rows[row, column]}; the file may be damaged, or an f16 "
        "value overflowed (try kv_type='f32')"
    )
