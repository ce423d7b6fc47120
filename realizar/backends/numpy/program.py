"""NumpyProgram: runs a plan on the sequences of a step, one by one, with the definitions of its ops."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from realizar.backends.numpy.inputs import SequenceInputs
from realizar.errors import GraphError, RealizarError
from realizar.graph.reference import evaluate
from realizar.runtime.batch_checks import BatchChecks, limits_of
from realizar.runtime.plan import Plan, assign_slots

if TYPE_CHECKING:
    from realizar.backends.numpy.storage import NumpyStorage
    from realizar.graph.reference import TensorLike
    from realizar.runtime.backend import CompileParams
    from realizar.runtime.batch import Batch
    from realizar.runtime.weights import Tensor

F32 = npt.NDArray[np.float32]


class NumpyProgram:
    """A plan that runs without kernels.

    Each sequence is computed alone, so its values do not depend on the others of the step. Rounding in float64 may
    depend on how the sequence is cut into steps, since the order of sums in numpy's products depends on the size.

    Parameters
    ----------
    plan : Plan
    tensors : dict of str to Tensor
        By GGUF name.
    floats : dict of str to TensorLike
        The same tensors as read by the definitions.
    storage : NumpyStorage
    params : CompileParams

    Attributes
    ----------
    plan : Plan
    n_bytes : int
        Peak bytes of the values of n_batch rows.

    Raises
    ------
    GraphError
        If an op has no numpy definition.
    ParameterError
        As `limits_of`.
    """

    def __init__(
        self, plan: Plan, tensors: Mapping[str, Tensor], floats: Mapping[str, TensorLike], storage: NumpyStorage,
        params: CompileParams,
    ) -> None:  # fmt: skip
        for op in plan.ops:
            if op.spec.define is None and op.spec.evaluate is None and not op.spec.is_override:
                raise GraphError(f"op {op.op!r} has no numpy definition")
        self.plan = plan
        self._storage = storage
        self._inputs = SequenceInputs(plan, floats, storage, params)
        limits = limits_of(plan, tensors, params.n_ctx, storage.n_slots, storage.n_blocks)
        self._checks = BatchChecks(plan, limits, params.adapters)
        life: Mapping[Any, tuple[int, int]] = plan.lifetimes()
        self._ends: list[list[int]] = [[] for _ in plan.ops]
        for root, (_, last) in life.items():
            if last < len(plan.ops):
                self._ends[last].append(root)
        self.n_bytes = params.n_batch * sum(assign_slots(life, {i: 4 * plan.views[i].n for i in life}).width)
        self._states = {op.attrs["state"] for op in plan.ops if "state" in op.attrs}
        self._is_closed = False

    def run(
        self, batch: Batch, outputs: Iterable[str] | None = None, overrides: Mapping[str, F32] | None = None
    ) -> dict[str, F32]:
        """Compute one step; parameters, result and errors as `runtime.backend.Program.run`."""
        if self._is_closed:
            raise RealizarError("the backend of this program is closed")
        self._checks.check(batch)
        given = self._checks.overrides(batch, overrides or {})
        with np.errstate(all="ignore"):  # like the kernels, treat infinities and NaN as ordinary values
            parts = [part for s in range(batch.n_seqs) for part in self._run_sequence(batch, s, given)]
        names = self.plan.outputs if outputs is None else outputs
        return {name: np.concatenate([part[name] for part in parts]) for name in names}

    def close(self) -> None:
        """Release the weights; it cannot run afterwards."""
        self._is_closed = True
        self._inputs.close()
        self.n_bytes = 0

    def _run_sequence(self, batch: Batch, s: int, given: Mapping[str, F32]) -> Iterator[dict[str, F32]]:
        """Yield the outputs of one sequence of a step: a row for each of its rows among `batch.outputs`.

        Draft tokens are computed after its other rows, with a copy of their states.
        """
        before = batch.state_slots[s]
        for first, end, slot in batch.state_runs(s):
            if slot != before:
                self._storage.copy_slot(before, slot)
            yield self._run_rows(batch, s, first, end, slot, given)

    def _run_rows(
        self, batch: Batch, s: int, first: int, end: int, slot: int, given: Mapping[str, F32]
    ) -> dict[str, F32]:
        """Return the outputs of rows first to end of a step, which are those of sequence s."""
        inputs = self._inputs.of(batch, s, first, end, slot, self._states)
        of_outputs = replace(inputs, picked=inputs.outputs)
        rows, among = slice(first, end), slice(*np.searchsorted(batch.outputs, [first, end]).tolist())
        values: dict[int, F32] = {}  # of the roots, [n, elements]
        for op, ends in zip(self.plan.ops, self._ends, strict=True):
            if op.spec.is_override:
                found = [given[self.plan.names[i]][among if self.plan.views[i].m_rows else rows] for i in op.outputs]
            elif op.outputs and self.plan.views[op.outputs[0]].m_rows and not len(inputs.outputs):
                found = [np.empty((0, self.plan.views[i].n), np.float32) for i in op.outputs]
            else:
                is_picked = bool(op.inputs) and self.plan.views[op.inputs[0]].m_rows
                found = evaluate(op, [self._rows(values, i) for i in op.inputs], of_outputs if is_picked else inputs)
            for i, y in zip(op.outputs, found, strict=True):
                if op.spec.in_place:
                    self._rows(values, i)[...] = y
                else:
                    values[i] = y.reshape(len(y), self.plan.views[i].n)
            for root in ends:
                del values[root]
        return {name: self._rows(values, i) for name, i in self.plan.outputs.items()}

    def _rows(self, values: Mapping[int, F32], i: int) -> F32:
        """Return a value, float32 [n, *shape], as part of its root."""
        view = self.plan.views[i]
        rows = values[view.root]
        return rows[:, view.offset : view.offset + view.n].reshape(len(rows), *self.plan.shapes[i])
