from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

_F32 = npt.NDArray[np.float32]

def in_tiles(b: npt.NDArray[Any]) -> npt.NDArray[Any]: ...

class Factors:
    def __new__(cls, n_slot: int) -> Factors: ...
    def set(
        self,
        slot: int,
        a: npt.NDArray[Any] | None,
        b: npt.NDArray[Any],
        n_out: int,
        scale: float = 1.0,
        of_tokens: bool = False,
    ) -> None: ...

class AdapterSet:
    def __new__(cls, uses: Sequence[tuple[Factors, float]]) -> AdapterSet: ...

def add_product(h: _F32, b: npt.NDArray[Any], y: _F32, isa: str | None = None) -> _F32: ...
