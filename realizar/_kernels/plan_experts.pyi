from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from realizar._kernels.plan import Program, _Rows

_Floats = npt.NDArray[np.float32]
_ExpertWeight = tuple[str, npt.NDArray[np.uint8], _Floats | None, _Floats | None]

def add_route(
    program: Program,
    n_expert: int,
    n_used: int,
    gating: str,
    *,
    logits: _Rows,
    y: _Rows,
    ids: _Rows | None = None,
    per_expert: npt.NDArray[np.float32] | None = None,
    n_group: int = 1,
    n_group_used: int = 1,
    n_group_best: int = 1,
    normalize: bool = False,
    scale: float = 1.0,
    m_rows: bool = False,
) -> None: ...
def add_experts(
    program: Program,
    n_expert: int,
    n_used: int,
    n_embd: int,
    activation: str,
    *,
    gate: _ExpertWeight | None,
    up: _ExpertWeight,
    down: _ExpertWeight,
    ids: _Rows,
    weights: _Rows,
    y: _Rows,
    room: Mapping[str, int],
    x: _Rows | None = None,
    act32: _Rows | None = None,
    act256: _Rows | None = None,
    m_rows: bool = False,
    limit: float = 0.0,
    slots: Sequence[int | None] = (),
    max_rank: int = 0,
) -> None: ...
