"""Batch: the inputs of one step; everything else is constant between steps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from realizar.errors import ParameterError

if TYPE_CHECKING:
    import numpy.typing as npt

    Int32 = npt.NDArray[np.int32]

BLOCK = 16
"""Tokens in one block of the KV cache, in every cache group."""


@dataclass(frozen=True, eq=False)
class Batch:
    """The rows of one step.

    A row is one token, or one embedding, of one sequence. The rows of a sequence are contiguous and in order; before
    them come the `seq_past` rows that are in its KV cache. The K and V of row r, counted from the beginning of the
    sequence, are in slot ``r % BLOCK`` of block ``table[r // BLOCK]``.

    Attributes
    ----------
    tokens : int32 [n]
        Token ids; 0 for rows of embeddings.
    positions : int32 [k, n]
        Positions for rotary and learned position embeddings. k is 1, or the number of axes of the program's rotary
        embeddings (for example time, height and width). They do not affect causality: attention masks, windows and
        relative position biases depend on the order of the rows.
    seq_start : int32 [s + 1]
        First row of each sequence, and n at the end.
    seq_past : int32 [s]
        Number of rows of each sequence that are in the KV cache before this step.
    block_tables : tuple of int32 [s, max_blocks]
        One table per cache group. Entries that no row of this step can see are 0.
    state_slots : int32 [s]
        Slot of each sequence's recurrent states, which are zero if `seq_past` is 0; 0 if the model has none.
    outputs : int32 [m]
        Rows for which outputs are requested, ascending.
    encoder_lengths : int32 [s] | None
        Length of each sequence's encoder input, whose K and V are in the caches of kind "cross"; None if the program
        has no cross-attention.
    embeddings : float32 [e, n_embd] | None
        Inputs used instead of token embeddings; None if there are none.
    embedding_rows : int32 [e] | None
        Row of the step for each of `embeddings`, ascending.
    deepstack : float32 [n, n_deepstack * n_embd] | None
        What is added to the hidden states of each row after the first layers, zero for tokens; None if nothing is.
    spans : int32 [j, 2] | None
        Bidirectional spans: ranges [first, end) of rows, ascending, each within one sequence. The rows of a span see
        each other in both directions although attention is causal: row q sees row p if p is not after q (and within the
        window, if there is one), or if both are in one span. None if there are none.
    adapters : int32 [s] | None
        Number of each sequence's set of adapters (`AdapterTable`), 0 for none; None if no sequence has any.
    n_drafts : int32 [s] | None
        Number of trailing rows of each sequence that are draft tokens, less than its rows; None if there are none, or
        the model has no recurrent states. States before them stay in `state_slots`.
    draft_slots : int32 [s] | None
        State slot after the draft tokens of each sequence; 0 where it has none. None along with `n_drafts`.
    """

    tokens: Int32
    positions: Int32
    seq_start: Int32
    seq_past: Int32
    block_tables: tuple[Int32, ...]
    state_slots: Int32
    outputs: Int32
    encoder_lengths: Int32 | None = None
    embeddings: npt.NDArray[np.float32] | None = None
    embedding_rows: Int32 | None = None
    deepstack: npt.NDArray[np.float32] | None = None
    spans: Int32 | None = None
    adapters: Int32 | None = None
    n_drafts: Int32 | None = None
    draft_slots: Int32 | None = None

    @property
    def n_tokens(self) -> int:
        """Number of rows of the step."""
        return len(self.tokens)

    @property
    def n_seqs(self) -> int:
        """Number of sequences of the step."""
        return len(self.seq_past)

    def embedding_of(self) -> Int32 | None:
        """Index into `embeddings` for each row, -1 for tokens: int32 [n]; None if there are no embeddings."""
        if self.embedding_rows is None:
            return None
        out = np.full(self.n_tokens, -1, np.int32)
        out[self.embedding_rows] = np.arange(len(self.embedding_rows), dtype=np.int32)
        return out

    def state_runs(self, s: int) -> list[tuple[int, int, int]]:
        """The rows of sequence s by the state slot that they update: (first, end, slot).

        The second run, of draft tokens, begins with the state after the first one.
        """
        first, end = int(self.seq_start[s]), int(self.seq_start[s + 1])
        n_drafts = 0 if self.n_drafts is None else int(self.n_drafts[s])
        runs = [(first, end - n_drafts, int(self.state_slots[s]))]
        return (
            [*runs, (end - n_drafts, end, int(self.draft_slots[s]))]
            if n_drafts and self.draft_slots is not None
            else runs
        )

    def reach(self) -> Int32 | None:
        """Numbers of rows of its span before and after each row: int32 [n, 2]; None if there are no spans."""
        if self.spans is None:
            return None
        out = np.zeros((self.n_tokens, 2), np.int32)
        for first, end in self.spans:
            out[first:end, 0] = np.arange(end - first)
            out[first:end, 1] = out[first:end, 0][::-1]
        return out

    def check(self) -> None:
        """Check the arrays; for batches that are not made by the engine.

        Raises
        ------
        ParameterError
            Names the first array that violates the description of the class.
        """
        self._check_rows()
        self._check_drafts()
        self._check_tables()
        self._check_embeddings()
        self._check_spans()

    def _check_rows(self) -> None:
        n, s = self.n_tokens, self.n_seqs
        _shape("tokens", self.tokens, (n,))
        _shape("positions", self.positions, (len(self.positions), n))
        _shape("seq_start", self.seq_start, (s + 1,))
        _shape("seq_past", self.seq_past, (s,))
        for name, array in (("encoder_lengths", self.encoder_lengths), ("adapters", self.adapters)):
            if array is not None:
                _shape(name, array, (s,))
                _need(bool((array >= 0).all()), name, "not be negative")
        _shape("state_slots", self.state_slots, (s,))
        _shape("outputs", self.outputs, (len(self.outputs),))
        _need(n > 0 and s > 0, "tokens", "at least one row of one sequence")
        _need(len(self.positions) > 0, "positions", "have at least one axis")
        rises = self.seq_start[0] == 0 and self.seq_start[-1] == n and (np.diff(self.seq_start) > 0).all()
        _need(bool(rises), "seq_start", f"rise from 0 to {n}")
        _need(bool((self.seq_past >= 0).all()), "seq_past", "not be negative")
        _need(bool((self.state_slots >= 0).all()), "state_slots", "not be negative")
        _need(_ascend(self.outputs, n), "outputs", f"be rows below {n}, ascending")

    def _check_drafts(self) -> None:
        """Draft rows follow at least one other row, and have a slot of their own."""
        counts, slots = self.n_drafts, self.draft_slots
        if counts is None or slots is None:
            _need(counts is None and slots is None, "n_drafts", "come with draft_slots, or neither of them")
            return
        _shape("n_drafts", counts, (self.n_seqs,))
        _shape("draft_slots", slots, (self.n_seqs,))
        fits = (counts >= 0).all() and (counts < np.diff(self.seq_start)).all()
        _need(bool(fits), "n_drafts", "be less than the rows of each sequence, and not negative")
        own = (slots[counts > 0] >= 0).all() and not np.isin(slots[counts > 0], self.state_slots).any()
        _need(bool(own), "draft_slots", "be slots that are not among state_slots")

    def _check_tables(self) -> None:
        n_blocks = int((-(-(self.seq_past + np.diff(self.seq_start)) // BLOCK)).max())
        if self.encoder_lengths is not None:  # tables may be of encoder inputs
            n_blocks = min(n_blocks, int((-(-self.encoder_lengths // BLOCK)).max()))
        for group, table in enumerate(self.block_tables):
            name = f"block_tables[{group}]"
            _shape(name, table, (self.n_seqs, table.shape[-1]))
            _need(table.shape[1] >= n_blocks, name, f"have {n_blocks} columns for {n_blocks * BLOCK} tokens")
            _need(bool((table >= 0).all()), name, "not be negative")

    def _check_embeddings(self) -> None:
        x, rows = self.embeddings, self.embedding_rows
        if x is None or rows is None:
            _need(x is None and rows is None, "embeddings", "come with embedding_rows, or neither of them")
            return
        _need(x.ndim == 2 and len(x) > 0, "embeddings", "be rows of n_embd floats, None if there are none")
        _shape("embeddings", x, x.shape, np.float32)
        _shape("embedding_rows", rows, (len(x),))
        _need(_ascend(rows, self.n_tokens), "embedding_rows", f"be rows below {self.n_tokens}, ascending")
        _need(not self.tokens[rows].any(), "tokens", "be 0 where embeddings enter")

    def _check_spans(self) -> None:
        if self.spans is None:
            return
        _need(len(self.spans) > 0, "spans", "be None if there are none")
        _shape("spans", self.spans, (len(self.spans), 2))
        first, end = self.spans.T
        inside = (first >= 0).all() and (end <= self.n_tokens).all()
        _need(bool(inside and (first < end).all() and (end[:-1] <= first[1:]).all()),
              "spans", f"be ranges of rows up to {self.n_tokens}, not empty, ascending and apart")  # fmt: skip
        sequence = np.searchsorted(self.seq_start, first, side="right")
        _need(bool((end <= self.seq_start[sequence]).all()), "spans", "each lie within one sequence")


def _ascend(rows: Int32, n: int) -> bool:
    """Whether these are distinct row numbers below n, in order."""
    return bool((np.diff(rows) > 0).all() and (rows >= 0).all() and (rows < n).all())


def _shape(name: str, array: npt.NDArray[Any], shape: tuple[int, ...], dtype: type[np.generic] = np.int32) -> None:
    if not (array.dtype == dtype and array.shape == shape and array.flags.c_contiguous):
        found = f"{array.dtype} {list(array.shape)}"
        _need(False, name, f"be contiguous {dtype.__name__} {list(shape)}, not {found}")


def _need(ok: bool, name: str, want: str) -> None:
    if not ok:
        raise ParameterError(f"Batch.{name} must {want}")
