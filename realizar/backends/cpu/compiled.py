"""CompiledPlan: an executable plan."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import prod

import numpy as np
import numpy.typing as npt

from realizar._kernels.plan import Program
from realizar.backends.cpu.adapters import AdapterSlots
from realizar.backends.cpu.numpy_op import NumpyOp
from realizar.errors import RealizarError
from realizar.runtime.batch import Batch
from realizar.runtime.batch_checks import BatchChecks, Limits
from realizar.runtime.plan import Plan

Rows = tuple[int, int]
"""Rows in the arena: offset of the first in bytes, and distance between rows in floats."""
NO_BYTES = np.empty(0, np.uint8)
"""The arena of a closed plan, made in advance: closing must not need memory."""


class CompiledPlan:
    """An executable plan: `run(batch)` computes one step.

    Attributes
    ----------
    plan : Plan
    n_bytes : int
        Size of the arena for the values of a step, 0 if it is that of another plan; steps with fewer rows touch fewer
        pages.
    lent : uint8 array
        Memory that plans may use which share that of this one.
    """

    def __init__(
        self, plan: Plan, steps: Sequence[Program | NumpyOp], arena: npt.NDArray[np.uint8], rows: Mapping[str, Rows],
        overrides: Mapping[str, Rows], limits: Limits, adapters: AdapterSlots, lent: npt.NDArray[np.uint8],
    ) -> None:  # fmt: skip
        self.plan = plan
        self.n_bytes = arena.nbytes if lent is arena else 0
        self.lent = lent
        self._steps = tuple(steps)
        self._is_closed = False
        self._arena = arena
        self._rows = rows
        self._overrides = overrides
        self._checks = BatchChecks(plan, limits, adapters.table)
        self._adapters = adapters
        self._shapes = {name: plan.shapes[i] for name, i in plan.outputs.items()}
        self._of_outputs = {name: plan.views[i].m_rows for name, i in plan.outputs.items()}
        self._views: dict[tuple[str, int], npt.NDArray[np.float32]] = {}

    def run(
        self, batch: Batch, outputs: Iterable[str] | None = None,
        overrides: Mapping[str, npt.NDArray[np.float32]] | None = None,
    ) -> dict[str, npt.NDArray[np.float32]]:  # fmt: skip
        """Compute one step.

        Parameters
        ----------
        batch : Batch
            Must satisfy `Batch.check`.
        outputs : iterable of str | None
            Which of the plan's outputs to return; all by default.
        overrides : dict of float32 [n or m, ...] | None
            Rows of every override of the plan (`runtime.backend.Program.run`).

        Returns
        -------
        dict of float32 [m or n, ...]
            Rows of the outputs, likewise; views that are valid until the next run.

        Raises
        ------
        ParameterError
            If the batch needs an unsupported feature, has an invalid token, block or state slot, or an override is
            missing.
        RealizarError
            If no worker thread can be started, or the backend is closed.
        """
        if self._is_closed:
            raise RealizarError("the backend of this program is closed")
        self._checks.check(batch)
        self._write_overrides(self._checks.overrides(batch, overrides or {}))
        sets, set_of = self._adapters.sets(batch.adapters)
        try:
            for step in self._steps:
                if isinstance(step, NumpyOp):
                    step.run(batch)
                else:
                    step.run(batch.tokens, batch.positions, batch.seq_start, batch.seq_past, batch.state_slots,
                             batch.outputs, batch.block_tables, batch.encoder_lengths, batch.embeddings,
                             batch.embedding_of(), batch.reach(), batch.n_drafts, batch.draft_slots, sets,
                             set_of)  # fmt: skip
        except OSError as error:
            raise RealizarError(f"{error}; use a smaller n_threads") from error
        n, m = batch.n_tokens, len(batch.outputs)
        names = self._rows if outputs is None else outputs
        return {name: self._output(name, m if self._of_outputs[name] else n) for name in names}

    def close(self) -> None:
        """Release the arena, the weights and the storage; it cannot run afterwards."""
        self._is_closed = True
        self._steps, self._arena, self.n_bytes, self.lent = (), NO_BYTES, 0, NO_BYTES
        self._views.clear()

    def _write_overrides(self, overrides: Mapping[str, npt.NDArray[np.float32]]) -> None:
        """Write the overrides where the ops of the plan read them."""
        for name, rows in overrides.items():
            offset, ld = self._overrides[name]
            self._block(offset, len(rows), ld)[...] = rows.reshape(len(rows), ld)

    def _output(self, name: str, m: int) -> npt.NDArray[np.float32]:
        """Return the first m rows of an output; views of the arena are cached by m."""
        view = self._views.get((name, m))
        if view is None:
            offset, ld = self._rows[name]
            shape = self._shapes[name]
            view = self._block(offset, m, ld)[:, : prod(shape)].reshape(m, *shape)
            self._views[name, m] = view
        return view

    def _block(self, offset: int, m: int, ld: int) -> npt.NDArray[np.float32]:
        return self._arena[offset : offset + m * ld * 4].view(np.float32).reshape(m, ld)
