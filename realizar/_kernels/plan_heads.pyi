from typing import Any

import numpy.typing as npt

from realizar._kernels.plan import Program

_Rows = tuple[int, int]

def add_copy_heads(
    program: Program, n: int, n_head: int, x: _Rows, x_step: int, y: _Rows, y_step: int, *, m_rows: bool = False
) -> None: ...
def add_per_head_linear(
    program: Program,
    k: int,
    format: str,
    data: list[npt.NDArray[Any]],
    x: _Rows,
    y: _Rows,
    room: int | None,
    *,
    m_rows: bool = False,
) -> None: ...
