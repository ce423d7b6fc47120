"""Batch: everything that changes from step to step; a bound plan is run on one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from realizar.errors import ParameterError

if TYPE_CHECKING:
    import numpy.typing as npt

    Int32 = npt.NDArray[np.int32]

BLOCK = 16
"""Tokens in one cache block, in every group."""


@dataclass(frozen=True, eq=False)
class Batch:
    """The rows of one step.

    A row is one token of one sequence. The rows of a sequence are contiguous and their positions ascend. The K and V
    of a token at position p lie in block ``table[p // BLOCK]`` of its sequence, slot ``p % BLOCK``.

    Attributes
    ----------
    tokens : int32 [n]
        Token ids.
    positions : int32 [k, n]
        Positions for rotation; k is 1, or 3 for models that place rows in time, height and width.
    seq_start : int32 [s + 1]
        First row of each sequence, and n at the end.
    seq_past : int32 [s]
        Tokens of each sequence that the cache holds before this step.
    block_tables : tuple of int32 [s, max_blocks]
        One table per cache group. Entries that no row of this step may look at are 0.
    state_slots : int32 [s]
        Where each sequence keeps its recurrent states, which are zero where `seq_past` is 0; 0 if the model has none.
    outputs : int32 [m]
        Rows whose outputs are wanted, ascending.
    seq_source : int32 [s] | None
        Tokens of the text that each sequence answers to, whose K and V the caches of kind "cross" hold; None if the
        program attends to no such text.
    embeddings : float32 [n, n_embd] | None
        Rows that enter in place of the embeddings of `tokens`.
    mask : {"causal", "bidirectional"}
        Which rows of its sequence a row sees, beside those that the cache holds.
    spans : int32 [k, 2] | None
        Ranges of rows that see each other in both directions although the mask is causal (images).
    adapters : int32 [s] | None
        Low-rank adapter of each sequence.

    The last four are there so that they need not be added to every face later; no backend takes them yet, and a run
    refuses a batch that uses one.
    """

    tokens: Int32
    positions: Int32
    seq_start: Int32
    seq_past: Int32
    block_tables: tuple[Int32, ...]
    state_slots: Int32
    outputs: Int32
    seq_source: Int32 | None = None
    embeddings: npt.NDArray[np.float32] | None = None
    mask: Literal["causal", "bidirectional"] = "causal"
    spans: Int32 | None = None
    adapters: Int32 | None = None

    @property
    def n_tokens(self) -> int:
        """Rows of the step."""
        return len(self.tokens)

    @property
    def n_seqs(self) -> int:
        """Sequences of the step."""
        return len(self.seq_past)

    def check(self) -> None:
        """Hold the arrays against each other, for batches made by hand.

        Raises
        ------
        ParameterError
            Naming the first array that is not as the class describes it.
        """
        n, s = self.n_tokens, self.n_seqs
        self._shape("tokens", self.tokens, (n,))
        self._shape("positions", self.positions, (self.positions.shape[0], n))
        self._shape("seq_start", self.seq_start, (s + 1,))
        self._shape("seq_past", self.seq_past, (s,))
        if self.seq_source is not None:
            self._shape("seq_source", self.seq_source, (s,))
        self._shape("state_slots", self.state_slots, (s,))
        self._shape("outputs", self.outputs, (len(self.outputs),))
        lengths = np.diff(self.seq_start)
        _need(n > 0 and s > 0, "tokens", "at least one row of one sequence")
        _need(bool(self.seq_start[0] == 0 and self.seq_start[-1] == n and (lengths > 0).all()),
              "seq_start", f"rise from 0 to {n}")  # fmt: skip
        _need(bool((self.seq_past >= 0).all()), "seq_past", "not be negative")
        _need(bool((self.state_slots >= 0).all()), "state_slots", "not be negative")
        rows = self.outputs
        _need(bool((np.diff(rows) > 0).all() and (rows >= 0).all() and (rows < n).all()),
              "outputs", f"be rows below {n}, ascending")  # fmt: skip
        n_blocks = int((-(-(self.seq_past + lengths) // BLOCK)).max())
        if self.seq_source is not None:  # of either text
            n_blocks = min(n_blocks, int((-(-self.seq_source // BLOCK)).max()))
        for group, table in enumerate(self.block_tables):
            name = f"block_tables[{group}]"
            self._shape(name, table, (s, table.shape[-1]))
            _need(table.shape[1] >= n_blocks, name, f"have {n_blocks} columns for {n_blocks * BLOCK} tokens")
            _need(bool((table >= 0).all()), name, "not be negative")

    @staticmethod
    def _shape(name: str, array: Int32, shape: tuple[int, ...]) -> None:
        ok = array.dtype == np.int32 and array.shape == shape and array.flags.c_contiguous
        _need(ok, name, f"be contiguous int32 {list(shape)}, not {array.dtype} {list(array.shape)}")


def _need(ok: bool, name: str, want: str) -> None:
    if not ok:
        raise ParameterError(f"Batch.{name} must {want}")
