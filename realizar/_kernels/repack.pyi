import numpy as np
import numpy.typing as npt

FORMATS: frozenset[str]

def repack(data: npt.NDArray[np.uint8], type_name: str) -> dict[str, npt.NDArray[np.uint8]]: ...
