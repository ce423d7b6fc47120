"""NumpyOp: runs a plugin's op, which has no kernel, by its numpy definition."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from realizar.graph.plugin_ops import evaluate_by_rows

if TYPE_CHECKING:
    from realizar.backends.cpu.compiled import Rows
    from realizar.graph import Node
    from realizar.runtime.batch import Batch
    from realizar.runtime.plan import Plan

F32 = npt.NDArray[np.float32]


class NumpyOp:
    """One op of a compiled plan, computed row by row: slow, but bitwise equal for any batch and any chunks.

    Parameters
    ----------
    plan : Plan
    op : Node
        Its OpSpec has a numpy definition.
    arena : uint8 array
        The memory of all values of a step.
    rows : dict of int to Rows
        Value -> its rows in the arena; outputs that nothing reads are missing.
    weights : sequence of float32 arrays
    states : dict of str to float32 [n_slots, *shape]
    """

    def __init__(
        self, plan: Plan, op: Node, arena: npt.NDArray[np.uint8], rows: Mapping[int, Rows], weights: Sequence[F32],
        states: Mapping[str, F32],
    ) -> None:  # fmt: skip
        self._op, self._arena, self._rows_of, self._weights = op, arena, rows, weights
        self._shapes = {i: plan.shapes[i] for i in (*op.inputs, *op.outputs)}
        self._only_outputs = plan.views[(*op.inputs, *op.outputs)[0]].m_rows
        self._states = states[op.attrs["state"]] if "state" in op.attrs else None

    def run(self, batch: Batch) -> None:
        """Compute the rows of one step."""
        if self._states is None:
            self._run_rows(0, len(batch.outputs) if self._only_outputs else batch.n_tokens, None)
            return
        for s, (first, end) in enumerate(zip(batch.seq_start[:-1], batch.seq_start[1:], strict=True)):
            state = self._states[batch.state_slots[s]]
            if not batch.seq_past[s]:
                state[...] = 0
            self._run_rows(int(first), int(end), state)

    def _run_rows(self, first: int, end: int, state: F32 | None) -> None:
        inputs = [self._rows(i, first, end).reshape(end - first, *self._shapes[i]) for i in self._op.inputs]
        found = evaluate_by_rows(self._op, inputs, self._weights, state)
        for i, values in zip(self._op.outputs, found, strict=True):
            if i in self._rows_of:
                self._rows(i, first, end)[...] = values.reshape(end - first, prod(self._shapes[i]))

    def _rows(self, i: int, first: int, end: int) -> F32:
        """Return rows of a value, float32 [end - first, n]: a view of the arena."""
        offset, ld = self._rows_of[i]
        start = offset + 4 * first * ld
        rows = self._arena[start : start + 4 * (end - first) * ld].view(np.float32).reshape(-1, ld)
        return rows[:, : prod(self._shapes[i])]
