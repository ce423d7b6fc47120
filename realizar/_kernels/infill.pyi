import numpy as np
from numpy.typing import NDArray

from realizar._kernels.sampling import Candidates

def infill(
    c: Candidates, text: NDArray[np.uint8], start: NDArray[np.int32], ends: NDArray[np.uint8], end_id: int
) -> None: ...
