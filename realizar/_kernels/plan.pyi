from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from realizar._kernels.adapters import AdapterSet

_Rows: TypeAlias = tuple[int, int]
_Rope: TypeAlias = tuple[npt.NDArray[np.float32], float, bool, npt.NDArray[np.int32] | None, _Rows]
_LinearWeight: TypeAlias = tuple[str, npt.NDArray[np.uint8], npt.NDArray[np.float32] | None, _Rows]

N_PLANES: dict[str, int]

def act_bytes(k: int, block: int, activations: str) -> int: ...

class Pool:
    def __new__(cls, n_threads: int) -> Pool: ...
    @property
    def n_threads(self) -> int: ...
    def stop(self) -> None: ...

class Program:
    def __new__(
        cls,
        pool: Pool,
        arena: npt.NDArray[np.uint8],
        n_batch: int,
        isa: str | None = None,
        activations: str = "int8",
    ) -> Program: ...
    def add_rowwise(
        self,
        name: str,
        n: int,
        *,
        n_repeat: int = 1,
        m_rows: bool = False,
        x: _Rows | None = None,
        x2: _Rows | None = None,
        y: _Rows | None = None,
        scalar: float = 0.0,
        w: npt.NDArray[np.float32] | None = None,
        b: npt.NDArray[np.float32] | None = None,
        act32: _Rows | None = None,
        act256: _Rows | None = None,
    ) -> None: ...
    def add_embed(
        self, format: str, table: npt.NDArray[np.uint8], n: int, y: _Rows, by: str = "token", scale: float = 1.0
    ) -> None: ...
    def add_linear(
        self,
        k: int,
        weights: Sequence[_LinearWeight],
        *,
        m_rows: bool = False,
        x: _Rows | None = None,
        act32: _Rows | None = None,
        act256: _Rows | None = None,
        residual: _Rows | None = None,
    ) -> None: ...
    @property
    def n_ops(self) -> int: ...
    def join(self, first: int) -> None: ...
    def add_rope_table(self, rope: _Rope) -> None: ...
    def add_rope(
        self, head_dim: int, n_head: int, x: _Rows, y: _Rows, rope: _Rope, *, m_rows: bool = False
    ) -> None: ...
    def run(
        self,
        tokens: npt.NDArray[np.int32],
        positions: npt.NDArray[np.int32],
        seq_start: npt.NDArray[np.int32],
        seq_past: npt.NDArray[np.int32],
        state_slots: npt.NDArray[np.int32],
        outputs: npt.NDArray[np.int32],
        block_tables: Sequence[npt.NDArray[np.int32]],
        encoder_lengths: npt.NDArray[np.int32] | None = None,
        embeddings: npt.NDArray[np.float32] | None = None,
        embedding_of: npt.NDArray[np.int32] | None = None,
        reach: npt.NDArray[np.int32] | None = None,
        n_drafts: npt.NDArray[np.int32] | None = None,
        draft_slots: npt.NDArray[np.int32] | None = None,
        adapter_sets: Sequence[AdapterSet] = (),
        set_of: npt.NDArray[np.int32] | None = None,
    ) -> None: ...
