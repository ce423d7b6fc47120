"""Content: what determines the rows of a prompt besides token ids: embeddings, positions and bidirectional spans."""

from __future__ import annotations

import hashlib
from bisect import bisect_left, bisect_right
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from realizar.errors import ParameterError
from realizar.params.prompt import MAX_POSITION, Embeddings, Tokens, n_rows

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import numpy.typing as npt

    Int32 = npt.NDArray[np.int32]

Span = tuple[int, int]
"""First row and end of a bidirectional span."""
DIGEST_BYTES = 16


class EmbeddingRows(NamedTuple):
    """Rows that enter as embeddings.

    Attributes
    ----------
    rows : int32 [e]
        Which rows these are, ascending.
    values : float32 [e, n_embd]
    digests : uint8 [e, DIGEST_BYTES]
        Cryptographic hash of each row, or of the part's key and the row's place in it.
    """

    rows: Int32
    values: npt.NDArray[np.float32]
    digests: npt.NDArray[np.uint8]

    def between(self, first: int, end: int) -> EmbeddingRows:
        """Return those of rows [first, end), counted from `first`."""
        i, j = np.searchsorted(self.rows, (first, end))
        return EmbeddingRows(self.rows[i:j] - np.int32(first), self.values[i:j], self.digests[i:j])


class Content:
    """Describes the first rows of a sequence; never changed, so that forks share it.

    Parameters
    ----------
    tokens : int32 [n]
        Token ids; 0 where embeddings enter.
    embeddings : EmbeddingRows or None
    positions : int32 [k, n] or None
        None where they are 0 to n - 1.
    spans : sequence of (first, end)
        Ascending; the rows of each see each other in both directions.

    Attributes
    ----------
    n_axes : int
        Number of axes of the positions.
    offset : int
        Position of a row after these, less its number.
    """

    def __init__(
        self, tokens: Int32, embeddings: EmbeddingRows | None, positions: Int32 | None, spans: Sequence[Span]
    ) -> None:
        self.tokens = tokens
        self.embeddings = embeddings
        self.spans = tuple(span for span in spans if span[1] - span[0] > 1)  # a row alone sees itself anyway
        self._firsts = [first for first, _ in self.spans]
        self._positions = positions
        # Where each row would be if it came after the greatest position before it, and what would follow the last one.
        self._next = np.arange(len(tokens) + 1, dtype=np.int64)
        if positions is not None:
            self._next[1:] = np.maximum.accumulate(positions.max(axis=0).astype(np.int64)) + 1
        self.n_axes = 1 if positions is None else len(positions)
        self.offset = int(self._next[-1]) - len(tokens)
        self._span_digests = [self._digest(first, end, self.tokens[first:end].tobytes()) for first, end in self.spans]

    @classmethod
    def of(cls, parts: Iterable[Tokens | Embeddings]) -> Content:
        """Lay parts out in rows.

        Raises
        ------
        ParameterError
            If parts have embeddings of different widths or positions of different numbers of axes, or positions are too
            large.
        """
        parts = list(parts)
        tokens: list[Int32] = []
        spans: list[Span] = []
        rows: list[Int32] = []
        n = 0
        for part in parts:
            if isinstance(part, Embeddings):
                end = n + len(part.rows)
                tokens.append(np.zeros(len(part.rows), np.int32))
                rows.append(np.arange(n, end, dtype=np.int32))
            else:
                tokens.append(np.fromiter(part.ids, np.int32))
                end = n + len(tokens[-1])
            if part.mask == "bidirectional":
                spans.append((n, end))
            n = end
        return cls(np.concatenate(tokens), _joined(parts, rows), _positions_of(parts), spans)

    @property
    def is_plain(self) -> bool:
        """Whether the rows are completely determined by their token ids."""
        return self.embeddings is None and self._positions is None and not self.spans

    @property
    def has_positions(self) -> bool:
        """Whether the position of a row differs from its index."""
        return self._positions is not None

    @property
    def ends_with_embedding(self) -> bool:
        """Whether the last of these rows is an embedding."""
        return self.embeddings is not None and bool(self.embeddings.rows[-1] == len(self.tokens) - 1)

    def beginning(self, n: int) -> Content | None:
        """Return the content of the first n rows; None if token ids determine them."""
        if n >= len(self.tokens):
            return self
        found = None if self.embeddings is None else self.embeddings.between(0, n)
        positions = None if self._positions is None else _unless_default(self._positions[:, :n])
        spans = [(first, min(end, n)) for first, end in self.spans if first < n]
        cut = Content(self.tokens[:n], found if found is not None and len(found.rows) else None, positions, spans)
        return None if cut.is_plain else cut

    def positions(self, first: int, end: int) -> Int32:
        """Return the positions of rows [first, end), the last of which may come after these: int32 [k, end - first]."""
        out = np.empty((self.n_axes, end - first), np.int32)
        out[:] = np.arange(first, end) + self.offset
        n = min(end, len(self.tokens)) - first
        if n > 0:
            out[:, :n] = (
                np.arange(first, first + n) if self._positions is None else self._positions[:, first : first + n]
            )
        return out

    def span_across(self, row: int) -> Span | None:
        """Return the span that this row and the one before it are both in."""
        i = bisect_left(self._firsts, row) - 1
        return self.spans[i] if i >= 0 and row < self.spans[i][1] else None

    def spans_between(self, first: int, end: int) -> Sequence[Span]:
        """Return the spans that begin in rows [first, end)."""
        return self.spans[bisect_left(self._firsts, first) : bisect_left(self._firsts, end)]

    def key(self, first: int, end: int) -> bytes:
        """Return bytes that identify rows [first, end), besides their token ids; b"" if token ids suffice.

        A span is all of it that matters to each of its rows.
        """
        if first >= len(self.tokens):
            return b""
        fields = b""
        i = max(0, bisect_right(self._firsts, first) - 1)
        for (a, b), digest in zip(self.spans[i:], self._span_digests[i:], strict=True):
            if a < end and b > first:
                fields += digest
        return self._digest(first, end, fields)

    def _digest(self, first: int, end: int, more: bytes) -> bytes:
        """Return a hash of the embeddings and positions of rows [first, end) and of `more`; b"" if there are none."""
        found = None if self.embeddings is None else self.embeddings.between(first, end)
        positions = self.positions(first, end)
        if (positions == positions[0]).all():
            positions = positions[:1]
        usual = self._next[min(first, len(self.tokens))] + np.arange(end - first)
        fields = [
            b"" if found is None else found.rows.tobytes(),
            b"" if found is None else found.digests.tobytes(),
            b"" if (positions == usual).all() else positions.tobytes(),
            more,
        ]
        if not any(fields):
            return b""
        state = hashlib.blake2b(repr((first, end, *map(len, fields))).encode(), digest_size=DIGEST_BYTES)
        for field in fields:
            state.update(field)
        return state.digest()


def _joined(parts: Sequence[Tokens | Embeddings], rows: Sequence[Int32]) -> EmbeddingRows | None:
    found = [part for part in parts if isinstance(part, Embeddings)]
    if not found:
        return None
    widths = sorted({part.rows.shape[1] for part in found})
    if len(widths) > 1:
        raise ParameterError(f"Embeddings: parts of one prompt have rows of {widths} numbers; all must have n_embd")
    values = found[0].rows if len(found) == 1 else np.concatenate([part.rows for part in found])
    digests = b"".join(digest for part in found for digest in _row_digests(part))
    return EmbeddingRows(
        np.concatenate(rows), values, np.frombuffer(digests, np.uint8).reshape(len(values), DIGEST_BYTES)
    )


def _row_digests(part: Embeddings) -> Iterable[bytes]:
    for i, row in enumerate(part.rows):
        if part.key is None:
            yield hashlib.blake2b(row, digest_size=DIGEST_BYTES, person=b"row").digest()
        else:
            data = i.to_bytes(8, "little") + part.key
            yield hashlib.blake2b(data, digest_size=DIGEST_BYTES, person=b"key").digest()


def _positions_of(parts: Sequence[Tokens | Embeddings]) -> Int32 | None:
    """Return the positions of all rows, each part after the greatest position before; None if they are the default."""
    given = [part.positions for part in parts if isinstance(part, Embeddings) and part.positions is not None]
    if not given:
        return None
    axes = sorted({1, *map(len, given)})
    if len(axes) > 2:
        raise ParameterError(
            f"Embeddings: parts of one prompt have positions with {axes[1:]} axes; all must have as many, or 1"
        )
    found, start = [], 0
    for part in parts:
        own = part.positions if isinstance(part, Embeddings) else None
        if own is None:
            own = np.arange(n_rows(part), dtype=np.int32)[None]
        found.append(np.broadcast_to(own.astype(np.int64) + start, (axes[-1], own.shape[1])))
        start = int(found[-1].max()) + 1
    if start - 1 > MAX_POSITION:
        raise ParameterError(f"Embeddings: the prompt has positions up to {start - 1}; at most {MAX_POSITION}")
    return _unless_default(np.concatenate(found, axis=1).astype(np.int32))


def _unless_default(positions: Int32) -> Int32 | None:
    """Return positions, or None if they equal the row indices."""
    return None if (positions == np.arange(positions.shape[1])).all() else positions
