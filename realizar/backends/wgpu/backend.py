"""WgpuBackend: runs plans on a GPU."""

from __future__ import annotations

from typing import TYPE_CHECKING
from weakref import WeakSet

from realizar.backends.numpy.backend import Weight
from realizar.backends.wgpu.adapters import AdapterPool
from realizar.backends.wgpu.device import open_device
from realizar.backends.wgpu.program import WgpuProgram
from realizar.backends.wgpu.progress import upload_progress
from realizar.backends.wgpu.storage import WgpuStorage
from realizar.backends.wgpu.weights import Weights
from realizar.errors import RealizarError
from realizar.runtime.passes import FUSIONS, Pass

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    import numpy.typing as npt

    from realizar.graph import State
    from realizar.runtime.backend import CompileParams, Storage, StorageParams
    from realizar.runtime.plan import CacheGroup, Plan
    from realizar.runtime.weights import Tensor

    F32 = npt.NDArray[np.float32]


class WgpuBackend:
    """Runs ops by WGSL kernels on the device, and those without a kernel by their numpy definition on the host.

    Parameters
    ----------
    number : int
        Of the adapter (`open_device`).

    Attributes
    ----------
    device : Device

    Raises
    ------
    RealizarError
        As `open_device`.
    """

    n_threads = 1
    """The calling thread."""
    passes: tuple[Pass, ...] = FUSIONS
    """All fusions: each saves dispatches."""
    applies_adapters = True

    def __init__(self, number: int = 0) -> None:
        self.device = open_device(number)
        self._weights = Weights(self.device)
        self._pool = AdapterPool(self.device)
        self._floats: dict[int, Weight] = {}
        self._made: WeakSet[WgpuStorage | WgpuProgram] = WeakSet()

    def storage(self, groups: Sequence[CacheGroup], states: Sequence[State], params: StorageParams) -> WgpuStorage:
        """Return the memory of a KV cache; ParameterError if there is not that much, or no kernel for its type.

        Raises
        ------
        DeviceError
            In a process that was forked after the device was opened; `compile` too.
        """
        self.device.check_process()
        storage = WgpuStorage(self.device, groups, states, params)
        self._made.add(storage)
        return storage

    def summarize(self, logits: F32) -> None:
        """Return None: the sampler computes the block summaries itself."""

    def compile(
        self, plan: Plan, tensors: Mapping[str, Tensor], storage: Storage, params: CompileParams
    ) -> WgpuProgram:  # fmt: skip
        """Return a program for weights, by GGUF name, and a storage of this backend; raises like `WgpuProgram`."""
        if not isinstance(storage, WgpuStorage):
            raise RealizarError(f"the wgpu backend needs its own storage, not a {type(storage).__name__}")
        self.device.check_process()
        floats = {name: self._floats.setdefault(id(tensor), Weight(tensor)) for name, tensor in tensors.items()}
        used = {name: tensors[name] for op in plan.ops for name in op.weights}
        with upload_progress(self._weights.missing(used.values()), self.device.name) as self._weights.on_upload:
            program = WgpuProgram(plan, tensors, floats, self.device, self._weights, storage, self._pool, params)
        self._made.add(program)
        return program

    def close(self) -> None:
        """Free the memory of all programs, storages and weights; the device stays open for other backends."""
        for made in list(self._made):
            made.close()
        self._weights.close()
        self._pool.close()
        self._floats.clear()
