"""CPUBackend: executes plans with the C kernels on its own worker threads."""

from __future__ import annotations

from typing import TYPE_CHECKING
from weakref import WeakSet

from realizar._kernels import logit_scan
from realizar._kernels.plan import Pool
from realizar.backends.cpu.adapters import AdapterSlots
from realizar.backends.cpu.bind import bind
from realizar.backends.cpu.memory_plan import BindParams
from realizar.backends.cpu.storage import CPUStorage
from realizar.backends.cpu.threads import bounded_threads, default_threads
from realizar.errors import RealizarError
from realizar.runtime.passes import FUSIONS, Pass

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    import numpy.typing as npt

    from realizar.backends.cpu.compiled import CompiledPlan
    from realizar.graph import State
    from realizar.runtime.adapters import AdapterTable
    from realizar.runtime.backend import CompileParams, Storage, StorageParams
    from realizar.runtime.plan import CacheGroup, Plan
    from realizar.runtime.weights import Tensor


class CPUBackend:
    """The C kernels and the worker threads that run them.

    Parameters
    ----------
    n_threads : int, optional
        See EngineParams.
    isa : str, optional
        ISA level of the kernels; by default the current one.

    Attributes
    ----------
    pool : Pool
        The threads.
    """

    def __init__(self, n_threads: int | None = None, isa: str | None = None) -> None:
        self.pool = Pool(bounded_threads(n_threads) if n_threads else default_threads().n)
        self._isa = isa
        self._slots: dict[AdapterTable, AdapterSlots] = {}
        self._made: WeakSet[CPUStorage | CompiledPlan] = WeakSet()

    @property
    def n_threads(self) -> int:
        """Number of threads that compute a step, including the caller's."""
        return self.pool.n_threads

    applies_adapters = True

    @property
    def passes(self) -> tuple[Pass, ...]:
        """All fusions: each saves a pass over memory."""
        return FUSIONS

    def storage(self, groups: Sequence[CacheGroup], states: Sequence[State], params: StorageParams) -> CPUStorage:
        """Return the memory of a KV cache; ParameterError if there is not that much."""
        storage = CPUStorage(groups, states, params)
        self._made.add(storage)
        return storage

    def summarize(self, logits: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Return the block maxima and block sums of rows of logits, computed by all threads."""
        return logit_scan.summaries(self.pool, logits)

    def compile(
        self, plan: Plan, tensors: Mapping[str, Tensor], storage: Storage, params: CompileParams
    ) -> CompiledPlan:
        """Compile a plan with weights (by GGUF name) and a storage of this backend; raises the errors of `bind`."""
        if not isinstance(storage, CPUStorage):
            raise RealizarError(f"the CPU backend needs a storage made by itself, found a {type(storage).__name__}")
        how = BindParams(**vars(params), kv_type=storage.kv_type, isa=self._isa)
        kv = {at.key: (at.k, at.v) for at in storage.layers}
        states, slots = {at.key: at.data for at in storage.states}, None
        if params.adapters is not None:
            slots = self._slots.setdefault(params.adapters, AdapterSlots(params.adapters))
        program = bind(plan, tensors, self.pool, how, kv, states, slots)
        self._made.add(program)
        return program

    def close(self) -> None:
        """End the threads, and free the memory of all programs and storages."""
        for made in list(self._made):
            made.close()
        self.pool.stop()
