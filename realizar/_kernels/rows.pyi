import numpy as np
import numpy.typing as npt

ACT_BLOCK: dict[str, int]

def quantize_act(
    x: npt.NDArray[np.float32], block: int, isa: str | None = None
) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.float32], npt.NDArray[np.int16]]: ...
def residual_act(x: npt.NDArray[np.float32], block: int, isa: str | None = None) -> npt.NDArray[np.float32]: ...
def dequantize(format: str, data: npt.NDArray[np.uint8], k: int, isa: str | None = None) -> npt.NDArray[np.float32]: ...
def matmul(
    format: str,
    data: npt.NDArray[np.uint8],
    x: npt.NDArray[np.float32],
    activations: str = "int8",
    shape: str = "gemv",
    isa: str | None = None,
) -> npt.NDArray[np.float32]: ...
def row_bytes(format: str, k: int) -> int: ...
