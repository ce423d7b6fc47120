"""StagedProgram: runs the stages of a plan one after another, and passes on the values that cross, in host memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from realizar.errors import RealizarError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import numpy as np
    import numpy.typing as npt

    from realizar.backends.staged.stages import Stage
    from realizar.runtime.backend import Program
    from realizar.runtime.batch import Batch
    from realizar.runtime.batch_checks import BatchChecks
    from realizar.runtime.plan import Plan

    F32 = npt.NDArray[np.float32]


class StagedProgram:
    """A plan in stages.

    Parameters
    ----------
    plan : Plan
        The whole one.
    stages : sequence of (Stage, Program)
        In order.
    checks : BatchChecks
        Of the whole plan: a batch that some stage would refuse is refused before the first one runs.

    Attributes
    ----------
    plan : Plan
    stages : tuple of Stage
    """

    def __init__(self, plan: Plan, stages: Sequence[tuple[Stage, Program]], checks: BatchChecks) -> None:
        self.plan, self.stages = plan, tuple(stage for stage, _ in stages)
        self._stages, self._checks, self._is_closed = tuple(stages), checks, False

    @property
    def n_bytes(self) -> int:
        """Bytes of the values of a step, of all stages."""
        return sum(program.n_bytes for _, program in self._stages)

    def run(
        self, batch: Batch, outputs: Iterable[str] | None = None, overrides: Mapping[str, F32] | None = None
    ) -> dict[str, F32]:
        """Compute one step; parameters, result and errors as `runtime.backend.Program.run`."""
        if self._is_closed:
            raise RealizarError("the backend of this program is closed")
        self._checks.check(batch)
        given = self._checks.overrides(batch, overrides or {})
        values = {self.plan.overrides[name]: rows for name, rows in given.items()}
        names = tuple(self.plan.outputs if outputs is None else outputs)
        found: dict[str, F32] = {}
        for stage, program in self._stages:
            own = tuple(name for name in stage.outputs if name in names)
            crossing = {name: values[root] for name, root in stage.reads.items()}
            made = program.run(stage.batch(batch), (*stage.writes, *own), crossing)
            if not stage.is_last:
                made = {name: rows.copy() for name, rows in made.items()}
            values.update((root, made[name]) for name, root in stage.writes.items())
            found.update((name, made[name]) for name in own)
        return {name: found[name] for name in names}

    def close(self) -> None:
        """Refuse to run from now on; the members free the memory."""
        self._is_closed = True
