"""StagedBackend: several backends that compute one model together."""

from __future__ import annotations

from dataclasses import replace
from itertools import groupby
from typing import TYPE_CHECKING
from weakref import WeakSet

from realizar.backends.staged.program import StagedProgram
from realizar.backends.staged.stages import cut, groups_of, states_of
from realizar.backends.staged.storage import StagedStorage
from realizar.errors import RealizarError
from realizar.runtime.batch_checks import UNLIMITED, BatchChecks, limits_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    import numpy.typing as npt

    from realizar.backends.staged.placement import Placement
    from realizar.graph import State
    from realizar.runtime.backend import Backend, CompileParams, Program, Storage, StorageParams
    from realizar.runtime.passes import Pass
    from realizar.runtime.plan import CacheGroup, Plan
    from realizar.runtime.weights import Tensor

    F32 = npt.NDArray[np.float32]


class StagedBackend:
    """Runs each op on the member that a placement names, by cutting plans into stages.

    A member has the weights, the KV cache and the states of its own layers, and knows nothing of the others.

    Parameters
    ----------
    members : sequence of Backend
        They are closed with this.
    placement : Placement

    Attributes
    ----------
    members : tuple of Backend
    placement : Placement
    """

    def __init__(self, members: Sequence[Backend], placement: Placement) -> None:
        self.members, self.placement = tuple(members), placement
        self._made: WeakSet[StagedProgram] = WeakSet()

    @property
    def n_threads(self) -> int:
        """Threads of the member that has most."""
        return max(member.n_threads for member in self.members)

    @property
    def passes(self) -> tuple[Pass, ...]:
        """Those that all members ask for, since a plan is rewritten before it is cut."""
        first, *others = (tuple(member.passes) for member in self.members)
        return tuple(one for one in first if all(one in passes for passes in others))

    @property
    def layout(self) -> str:
        """In whose form the cache of each layer is, for files of saved caches: "2 CPUBackend, 4 WgpuBackend"."""
        names = (type(self.members[number]).__name__ for number in self.placement.layers)
        return ", ".join(f"{len(list(layers))} {name}" for name, layers in groupby(names))

    @property
    def applies_adapters(self) -> bool:
        """Whether all members apply them."""
        return all(member.applies_adapters for member in self.members)

    def storage(self, groups: Sequence[CacheGroup], states: Sequence[State], params: StorageParams) -> StagedStorage:
        """Allocate the memory of each layer where it is computed; raises like the members."""
        made = [
            member.storage(
                groups_of(groups, self.placement, number), states_of(states, self.placement, number), params
            )
            for number, member in enumerate(self.members)
        ]  # fmt: skip
        return StagedStorage(made, params.n_blocks, params.n_slots)

    def summarize(self, logits: F32) -> F32 | None:
        """Return the block summaries that the first member computes that can."""
        found = (member.summarize(logits) for member in self.members)
        return next((summaries for summaries in found if summaries is not None), None)

    def compile(
        self, plan: Plan, tensors: Mapping[str, Tensor], storage: Storage, params: CompileParams
    ) -> StagedProgram:  # fmt: skip
        """Compile the stages of a plan, each for its member; raises like the members."""
        if not isinstance(storage, StagedStorage):
            raise RealizarError(f"the staged backend needs its own storage, not a {type(storage).__name__}")
        stages, programs = cut(plan, self.placement), []
        before: dict[int, Program] = {}
        for stage in stages:
            own = replace(params, shares=before.get(stage.member))
            made = self.members[stage.member].compile(stage.plan, tensors, storage.members[stage.member], own)
            programs.append(made)
            before[stage.member] = made
        limits = limits_of(plan, tensors, params.n_ctx, storage.n_slots, storage.n_blocks, UNLIMITED)
        checks = BatchChecks(plan, limits, params.adapters)
        program = StagedProgram(plan, list(zip(stages, programs, strict=True)), checks)
        self._made.add(program)
        return program

    def close(self) -> None:
        """Close all members."""
        for program in list(self._made):
            program.close()
        for member in self.members:
            member.close()
