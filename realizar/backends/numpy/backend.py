"""NumpyBackend: runs plans with numpy alone, using the definition of every op."""

from __future__ import annotations

from typing import TYPE_CHECKING
from weakref import WeakSet

from realizar.backends.numpy.program import NumpyProgram
from realizar.backends.numpy.storage import NumpyStorage
from realizar.errors import RealizarError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    import numpy.typing as npt

    from realizar.graph import State
    from realizar.runtime.backend import CompileParams, Storage, StorageParams
    from realizar.runtime.passes import Pass
    from realizar.runtime.plan import CacheGroup, Plan
    from realizar.runtime.weights import Tensor

    F32 = npt.NDArray[np.float32]


class NumpyBackend:
    """Runs every op by its numpy definition, in float64; the same definitions serve as reference for the kernels.

    Weights are dequantized when they are first used and kept as float32.
    """

    n_threads = 1
    """The calling thread; numpy's matrix products may use further threads."""
    passes: tuple[Pass, ...] = ()
    """No passes: a fused op takes as long as its parts."""
    applies_adapters = True

    def __init__(self) -> None:
        self._made: WeakSet[NumpyStorage | NumpyProgram] = WeakSet()
        self._weights: dict[int, Weight] = {}

    def storage(self, groups: Sequence[CacheGroup], states: Sequence[State], params: StorageParams) -> NumpyStorage:
        """Return the memory of a KV cache; ParameterError if there is not that much."""
        storage = NumpyStorage(groups, states, params)
        self._made.add(storage)
        return storage

    def summarize(self, logits: F32) -> None:
        """Return None: the sampler computes the block summaries itself."""

    def compile(
        self, plan: Plan, tensors: Mapping[str, Tensor], storage: Storage, params: CompileParams
    ) -> NumpyProgram:  # fmt: skip
        """Return a program for weights, by GGUF name, and a storage of this backend; raises like `NumpyProgram`."""
        if not isinstance(storage, NumpyStorage):
            raise RealizarError(f"the numpy backend needs its own storage, not a {type(storage).__name__}")
        floats = {name: self._weight(tensor) for name, tensor in tensors.items()}
        program = NumpyProgram(plan, tensors, floats, storage, params)
        self._made.add(program)
        return program

    def close(self) -> None:
        """Free the memory of all programs, storages and weights."""
        for made in list(self._made):
            made.close()
        self._weights.clear()

    def _weight(self, tensor: Tensor) -> Weight:
        """Return the weight of a tensor, which all programs share."""
        return self._weights.setdefault(id(tensor), Weight(tensor))


class Weight:
    """A tensor that is dequantized once, when it is first read.

    Attributes
    ----------
    type : str
        Name of its format, which determines how the inputs of products with it are rounded.
    """

    def __init__(self, tensor: Tensor) -> None:
        self.type = tensor.type
        self._tensor = tensor  # kept: `NumpyBackend` finds this by its id
        self._floats: F32 | None = None

    def floats(self) -> F32:
        """Return the values, float32 [*shape]."""
        if self._floats is None:
            self._floats = self._tensor.floats()
        return self._floats
