import numpy as np
from numpy.typing import NDArray

from realizar._kernels.sampling import Candidates

def bias(c: Candidates, ids: NDArray[np.int32], biases: NDArray[np.float32]) -> None: ...
def penalize(
    c: Candidates, history: NDArray[np.int32], repetition: float, presence: float, frequency: float
) -> None: ...
def keep(c: Candidates, ids: NDArray[np.int32]) -> None: ...
def keep_bits(c: Candidates, bits: NDArray[np.uint32]) -> None: ...
def no_repeat(c: Candidates, history: NDArray[np.int32], size: int) -> None: ...
def dry(
    c: Candidates,
    history: NDArray[np.int32],
    limit: int,
    multiplier: float,
    base: float,
    allowed: int,
    exempt: NDArray[np.uint8],
) -> None: ...
