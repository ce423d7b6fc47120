from collections.abc import Sequence

from realizar._kernels.plan import Program

_Rows = tuple[int, int]

def add_low_rank(
    program: Program,
    k: int,
    targets: Sequence[tuple[int, int, _Rows]],
    max_rank: int,
    x: _Rows,
    room: int,
    *,
    m_rows: bool = False,
) -> None: ...
def add_low_rank_embed(
    program: Program, slot: int, n_row: int, max_rank: int, y: _Rows, room: int, scale: float, by_token: bool
) -> None: ...
def add_control_vector(program: Program, slot: int, n: int, y: _Rows, *, m_rows: bool = False) -> None: ...
