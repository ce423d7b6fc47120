"""Backend, Storage and Program: what the engine asks of whatever computes its steps."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from realizar.graph import State
    from realizar.params import Activations
    from realizar.runtime.batch import Batch
    from realizar.runtime.passes import Pass
    from realizar.runtime.plan import CacheGroup, Plan
    from realizar.runtime.weights import Tensor


@dataclass(frozen=True)
class StorageParams:
    """How much a storage holds.

    Attributes
    ----------
    n_blocks : tuple of int
        Blocks of each cache group.
    n_slots : int
        State slots, those of snapshots included.
    kv_type : str or pair of str
        As in EngineParams.
    """

    n_blocks: tuple[int, ...]
    n_slots: int
    kv_type: Any = "f16"


@dataclass(frozen=True)
class CompileParams:
    """What a program depends on beside its plan, weights and storage.

    Attributes
    ----------
    n_batch : int
        Rows of a step at most.
    n_ctx : int
        Tokens of a sequence at most.
    activations : {"int8", "int16", "f32"}
        What the inputs of products with quantized weights are rounded to.
    """

    n_batch: int
    n_ctx: int
    activations: Activations = "int8"


class Storage(Protocol):
    """The bytes of a KV cache and of its recurrent states. Contents of unwritten blocks and slots are undefined."""

    @property
    def n_bytes(self) -> int:
        """Bytes of all blocks and slots."""

    @property
    def slot_bytes(self) -> int:
        """Bytes of one state slot."""

    def block_bytes(self, group: int) -> int:
        """Bytes of one block of a cache group."""

    def copy_block(self, group: int, src: int, dst: int) -> None:
        """Copy a block of a cache group."""

    def copy_slot(self, src: int, dst: int) -> None:
        """Copy a state slot."""

    def save_blocks(self, group: int, blocks: Sequence[int]) -> Any:
        """Return a copy of these blocks in host memory, for `load_blocks`."""

    def load_blocks(self, group: int, blocks: Sequence[int], saved: Any) -> None:
        """Write what `save_blocks` returned into as many blocks."""

    def save_slot(self, slot: int) -> Any:
        """Return a copy of a state slot in host memory, for `load_slot`."""

    def load_slot(self, slot: int, saved: Any) -> None:
        """Write what `save_slot` returned into a state slot."""


class Program(Protocol):
    """A compiled plan."""

    @property
    def n_bytes(self) -> int:
        """Bytes that the values of a step of n_batch rows take."""

    def run(
        self, batch: Batch, outputs: Iterable[str] | None = None,
        overrides: Mapping[str, npt.NDArray[np.float32]] | None = None,
    ) -> dict[str, npt.NDArray[np.float32]]:  # fmt: skip
        """Compute one step; name -> one row for each of `batch.outputs`, valid until the next run.

        Raises
        ------
        ParameterError
            If the batch or the overrides are not what the plan takes (`BatchChecks`).
        RealizarError
            If the backend is closed, or the system gives it no threads.
        """


class Backend(Protocol):
    """Computes plans: it has the memory, the threads and the kernels."""

    @property
    def n_threads(self) -> int:
        """Threads that compute a step, the caller's included."""

    @property
    def passes(self) -> Sequence[Pass]:
        """The rewrites, in order, of the graphs whose plans it is to compile."""

    def storage(self, groups: Sequence[CacheGroup], states: Sequence[State], params: StorageParams) -> Storage:
        """Return the memory of a KV cache; ParameterError if there is not that much."""

    def summarize(self, logits: npt.NDArray[np.float32]) -> npt.NDArray[np.float32] | None:
        """Return the block summaries of rows of logits (`LogitRows`); None where the sampler is to compute them."""

    def compile(
        self, plan: Plan, tensors: Mapping[str, Tensor], storage: Storage, params: CompileParams
    ) -> Program:  # fmt: skip
        """Bind a plan to weights, by GGUF name, and to a storage of this backend.

        Raises
        ------
        GraphError
            If the plan holds what this backend cannot compute.
        ParameterError
            If there is not enough memory.
        """

    def close(self) -> None:
        """End its threads and give back its memory; steps under way must be over. Its programs run no more.

        What a program has returned stays valid. Closing twice does nothing.
        """
