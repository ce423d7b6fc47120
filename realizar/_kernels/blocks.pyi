import numpy as np
from numpy.typing import NDArray

from realizar._kernels.plan import Pool

class LogitBlocks:
    n_vocab: int
    def __new__(cls, pool: Pool, n_vocab: int) -> LogitBlocks: ...
    def forget(self) -> None: ...
    def fill(self, logits: NDArray[np.float32]) -> None: ...
