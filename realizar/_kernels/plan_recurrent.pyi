from typing import Any

import numpy as np
import numpy.typing as npt

from realizar._kernels.plan import Program

_F32 = npt.NDArray[np.float32]
_Rows = tuple[int, int]

def in_tiles(a: _F32) -> _F32: ...
def add_causal_conv1d(
    program: Program, w: _F32, bias: _F32 | None, state: npt.NDArray[Any], x: _Rows, y: _Rows, silu: bool = False
) -> None: ...
def add_token_shift(program: Program, w: _F32, state: npt.NDArray[Any], x: _Rows, y: _Rows) -> None: ...
def add_selective_scan(
    program: Program,
    n_head: int,
    n_group: int,
    a: _F32,
    d: _F32,
    dt_bias: _F32 | None,
    state: npt.NDArray[Any],
    x: _Rows,
    dt: _Rows,
    b: _Rows,
    c: _Rows,
    y: _Rows,
) -> None: ...
def add_delta_rule(
    program: Program,
    n_head_k: int,
    by_channel: bool,
    tiled: bool,
    state: npt.NDArray[Any],
    q: _Rows,
    k: _Rows,
    v: _Rows,
    decay: _Rows,
    beta: _Rows,
    y: _Rows,
) -> None: ...
def add_generalized_delta_rule(
    program: Program,
    state: npt.NDArray[Any],
    q: _Rows,
    k: _Rows,
    v: _Rows,
    decay: _Rows,
    a: _Rows,
    b: _Rows,
    y: _Rows,
) -> None: ...
def selective_scan(
    x: _F32,
    dt: _F32,
    b: _F32,
    c: _F32,
    a: _F32,
    d: _F32,
    state: _F32,
    dt_bias: _F32 | None = None,
    isa: str | None = None,
) -> _F32: ...
def delta_rule(
    q: _F32,
    k: _F32,
    v: _F32,
    decay: _F32,
    beta: _F32,
    state: _F32,
    tiled: bool = False,
    isa: str | None = None,
) -> _F32: ...
def generalized_delta_rule(
    q: _F32,
    k: _F32,
    v: _F32,
    decay: _F32,
    a: _F32,
    b: _F32,
    state: _F32,
    isa: str | None = None,
) -> _F32: ...
