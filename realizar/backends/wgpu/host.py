"""HostOp: an op without a kernel, which runs by its numpy definition between two submissions."""

from __future__ import annotations

from dataclasses import replace
from math import prod
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from realizar.errors import GraphError
from realizar.graph.reference import Inputs, evaluate

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from realizar.backends.numpy.inputs import SequenceInputs
    from realizar.backends.wgpu.storage import WgpuStorage
    from realizar.graph import Node
    from realizar.runtime.batch import Batch
    from realizar.runtime.plan import Plan

F32 = npt.NDArray[np.float32]


class HostOp:
    """One op of a plan, computed in numpy, sequence by sequence.

    Parameters
    ----------
    plan : Plan
    op : Node
    inputs : SequenceInputs
    storage : WgpuStorage
        Has its cache in the host's memory, if it has one; its state is fetched and put back.

    Attributes
    ----------
    op : Node

    Raises
    ------
    GraphError
        If the op has no numpy definition.
    """

    def __init__(self, plan: Plan, op: Node, inputs: SequenceInputs, storage: WgpuStorage) -> None:
        if op.spec.define is None and op.spec.evaluate is None:
            raise GraphError(f"op {op.op!r} has no numpy definition")
        self.op, self._plan, self._inputs, self._storage = op, plan, inputs, storage
        self._state: str | None = op.attrs.get("state")

    def run(self, batch: Batch, x: Sequence[F32]) -> list[F32]:
        """Return its outputs, float32 [n or m, elements], for a step; x: its inputs, [n or m, *shape]."""
        parts: list[list[F32]] = []
        with np.errstate(all="ignore"):  # like the kernels, treat infinities and NaN as ordinary values
            for first, end, slot, inputs in self._runs(batch):
                parts.append(self._run_rows(batch, first, end, inputs, x))
                if self._state is not None:
                    self._storage.put_state(self._state, slot)
        return [np.concatenate(found) for found in zip(*parts, strict=True)]

    def _runs(self, batch: Batch) -> Iterator[tuple[int, int, int, Inputs]]:
        """Yield the rows that have the same sequence and state slot, the slot, and the inputs of the definition."""
        states = () if self._state is None else (self._state,)
        for s in range(batch.n_seqs):
            before = int(batch.state_slots[s])
            for first, end, slot in batch.state_runs(s):
                if self._state is not None:
                    self._storage.fetch_state(self._state, before, slot)
                yield first, end, slot, self._inputs.of(batch, s, first, end, slot, states)

    def _run_rows(self, batch: Batch, first: int, end: int, inputs: Inputs, x: Sequence[F32]) -> list[F32]:
        views, op = self._plan.views, self.op
        among = slice(*np.searchsorted(batch.outputs, [first, end]).tolist())
        if op.outputs and views[op.outputs[0]].m_rows and not len(inputs.outputs):
            return [np.empty((0, prod(self._plan.shapes[i])), np.float32) for i in op.outputs]
        if op.inputs and views[op.inputs[0]].m_rows:
            inputs = replace(inputs, picked=inputs.outputs)
        own = [rows[among if views[i].m_rows else slice(first, end)] for i, rows in zip(op.inputs, x, strict=True)]
        found = evaluate(op, own, inputs)
        return [y.reshape(len(y), prod(self._plan.shapes[i])) for i, y in zip(op.outputs, found, strict=True)]
