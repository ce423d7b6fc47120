"""Backend, Storage and Program: the interface between the engine and what computes its steps."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from realizar.graph import State
    from realizar.params import Activations
    from realizar.runtime.adapters import AdapterTable
    from realizar.runtime.batch import Batch
    from realizar.runtime.passes import Pass
    from realizar.runtime.plan import CacheGroup, Plan
    from realizar.runtime.weights import Tensor


@dataclass(frozen=True)
class StorageParams:
    """The size and type of a storage.

    Attributes
    ----------
    n_blocks : tuple of int
        Number of blocks of each cache group.
    n_slots : int
        Number of state slots, including those for snapshots.
    kv_type : str or pair of str
        See EngineParams.
    """

    n_blocks: tuple[int, ...]
    n_slots: int
    kv_type: Any = "f16"


@dataclass(frozen=True)
class CompileParams:
    """Parameters of a program in addition to its plan, weights and storage.

    Attributes
    ----------
    n_batch : int
        Maximum number of rows of a step.
    n_ctx : int
        Maximum number of tokens of a sequence.
    activations : {"int8", "int16", "f32"}
        The type to which inputs of products with quantized weights are rounded.
    adapters : AdapterTable | None
        Where the side ops of the plan find the adapters of a step's sequences.
    shares : Program | None
        A program of the same backend whose results are never needed while this one runs: it may keep its values in the
        memory of that one's.
    """

    n_batch: int
    n_ctx: int
    activations: Activations = "int8"
    adapters: AdapterTable | None = None
    shares: Program | None = None


class Storage(Protocol):
    """The memory of a KV cache and of recurrent states. The contents of unwritten blocks and slots are undefined."""

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

    def save_blocks(self, group: int, blocks: Sequence[int]) -> dict[str, npt.NDArray[Any]]:
        """Return a copy of these blocks in host memory, for `load_blocks`: arrays [n_blocks, ...] by name.

        The names are those of no other group; shapes and types depend on nothing but the storage, so that another
        process with the same model and parameters can load them.
        """

    def load_blocks(self, group: int, blocks: Sequence[int], saved: Mapping[str, npt.NDArray[Any]]) -> None:
        """Write the result of `save_blocks` into as many blocks."""

    def save_slot(self, slot: int) -> dict[str, npt.NDArray[Any]]:
        """Return a copy of a state slot in host memory, for `load_slot`: arrays by name, as for blocks."""

    def load_slot(self, slot: int, saved: Mapping[str, npt.NDArray[Any]]) -> None:
        """Write the result of `save_slot` into a state slot."""


class Program(Protocol):
    """A compiled plan."""

    @property
    def n_bytes(self) -> int:
        """Bytes of the values of a step of n_batch rows."""

    def run(
        self, batch: Batch, outputs: Iterable[str] | None = None,
        overrides: Mapping[str, npt.NDArray[np.float32]] | None = None,
    ) -> dict[str, npt.NDArray[np.float32]]:  # fmt: skip
        """Compute one step; return name -> rows of the plan's outputs, valid until the next run.

        Outputs and overrides have the rows that their value has (`View.m_rows`): one for each of `batch.outputs`, or
        one for each row of the batch. Outputs of whole plans have the former, their overrides the latter; values that
        cross between stages of a plan may have either.

        Raises
        ------
        ParameterError
            If the batch or the overrides do not fit the plan (`BatchChecks`).
        RealizarError
            If the backend is closed, or no threads can be started.
        """


class Backend(Protocol):
    """Executes plans: has the memory, the threads and the kernels."""

    @property
    def n_threads(self) -> int:
        """Number of threads that compute a step, including the caller's."""

    @property
    def passes(self) -> Sequence[Pass]:
        """The graph rewrites to apply, in order, before its plans are compiled."""

    @property
    def applies_adapters(self) -> bool:
        """Whether it runs plans with the ops that apply LoRA adapters and control vectors."""

    def storage(self, groups: Sequence[CacheGroup], states: Sequence[State], params: StorageParams) -> Storage:
        """Allocate the memory of a KV cache; ParameterError if there is not enough."""

    def summarize(self, logits: npt.NDArray[np.float32]) -> npt.NDArray[np.float32] | None:
        """Return the block summaries of rows of logits (`LogitRows`); None if the sampler shall compute them."""

    def compile(
        self, plan: Plan, tensors: Mapping[str, Tensor], storage: Storage, params: CompileParams
    ) -> Program:  # fmt: skip
        """Compile a plan with weights (by GGUF name) and a storage of this backend.

        Raises
        ------
        GraphError
            If the plan has an op that this backend cannot compute.
        ParameterError
            If there is not enough memory.
        """

    def close(self) -> None:
        """End its threads and free its memory, when no step is running. Its programs cannot run afterwards.

        Results that programs returned stay valid. Closing twice does nothing.
        """
