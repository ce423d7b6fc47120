import numpy as np
from numpy.typing import NDArray

def repeat(history: NDArray[np.int32], most: int, n_draft: int) -> tuple[int, NDArray[np.int32]]: ...
