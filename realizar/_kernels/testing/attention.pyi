from typing import Any, Literal

import numpy as np
import numpy.typing as npt

_F32 = npt.NDArray[np.float32]
_KVType = Literal["f32", "f16", "int8", "q4"]

def hadamard(x: _F32, factor: float, isa: str | None = None) -> _F32: ...
def store(x: _F32, kind: Literal["k", "v"], kv_type: _KVType = "f16", isa: str | None = None) -> npt.NDArray[Any]: ...
def attention(
    q: _F32,
    k: _F32,
    v: _F32,
    *,
    pos0: int | None = None,
    scale: float | None = None,
    causal: bool = True,
    window: int = 0,
    softcap: float = 0.0,
    k_type: _KVType = "f16",
    v_type: _KVType = "f16",
    bias: npt.NDArray[np.float32] | None = None,
    reach: npt.NDArray[np.int32] | None = None,
    latent: bool = False,
    max_queries: int = 96,
    chunked: bool = False,
    skip: int = 0,
    isa: str | None = None,
) -> _F32: ...
def index_scores(q: _F32, k: _F32, weights: _F32, k_type: _KVType = "f16", isa: str | None = None) -> _F32: ...
