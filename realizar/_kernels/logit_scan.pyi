import numpy as np
from numpy.typing import NDArray

from realizar._kernels.plan import Pool

def summaries(pool: Pool, logits: NDArray[np.float32]) -> NDArray[np.float32]: ...
