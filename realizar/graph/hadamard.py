"""The Hadamard transform of blocks of a row: definition of the op."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

F64 = npt.NDArray[np.float64]


def hadamard(x: F64, width: int) -> F64:
    """H x / sqrt(width) for each `width` elements of a row, H the Sylvester-Hadamard matrix of +1 and -1.

    H = H^T and H H = width, so that the transform is its own inverse.

    Parameters
    ----------
    x : float64 [n, k]
        k is a multiple of `width`.
    width : int
        A power of two.
    """
    y = x.reshape(-1, width)
    distance = 1
    while distance < width:
        pairs = y.reshape(-1, 2, distance)
        y = np.stack([pairs[:, 0] + pairs[:, 1], pairs[:, 0] - pairs[:, 1]], axis=1).reshape(-1, width)
        distance *= 2
    scaled: F64 = y.reshape(x.shape) / np.sqrt(width)
    return scaled
