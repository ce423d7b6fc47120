from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from realizar._kernels.plan import Program

_Rows: TypeAlias = tuple[int, int]
_Rope: TypeAlias = tuple[npt.NDArray[np.float32], float, bool, npt.NDArray[np.int32] | None, _Rows]
_Cache: TypeAlias = tuple[int | None, str, str, int, int, int, npt.NDArray[Any], npt.NDArray[Any]]

def add_kv_store(program: Program, cache: _Cache, k: _Rows, v: _Rows | None) -> None: ...
def add_attention(
    program: Program,
    *,
    cache: _Cache,
    n_head: int,
    window: int,
    causal: bool,
    scale: float,
    softcap: float,
    q: _Rows,
    out: _Rows,
    k: _Rows | None = None,
    v: _Rows | None = None,
    cross: bool = False,
    q_rot: _Rows | None = None,
    rope: _Rope | None = None,
    partial: _Rows | None = None,
    bias: tuple[npt.NDArray[np.float32], int] | None = None,
    sinks: npt.NDArray[np.float32] | None = None,
    chunked: bool = False,
    skip: int = 0,
    spans: bool = True,
    m_rows: bool = False,
    chosen: tuple[_Rows, int] | None = None,
) -> None: ...
def add_choose_keys(
    program: Program,
    *,
    cache: _Cache,
    n_head: int,
    n_keys: int,
    n_ctx: int,
    q: _Rows,
    k: _Rows,
    weights: _Rows,
    scores: _Rows,
    out: _Rows,
) -> None: ...
