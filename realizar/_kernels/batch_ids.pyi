from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

def first_out_of_range(arrays: Sequence[NDArray[np.int32]], limits: Sequence[int]) -> int: ...
def sequence_lengths(seq_start: NDArray[np.int32], seq_past: NDArray[np.int32]) -> tuple[int, int]: ...
