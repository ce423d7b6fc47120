import numpy as np
import numpy.typing as npt

from realizar._kernels.plan import Pool

TARGETS: tuple[str, ...]

def quantize(
    pool: Pool,
    data: npt.NDArray[np.uint8],
    source: str,
    target: str,
    k: int,
    importances: npt.NDArray[np.float32] | None = None,
    isa: str | None = None,
) -> npt.NDArray[np.uint8]: ...
def are_finite(pool: Pool, data: npt.NDArray[np.uint8], source: str, k: int) -> bool: ...
