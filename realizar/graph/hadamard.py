"""The Hadamard transform of blocks of a row: definition of the op, and of what an int8 or q4 cache stores."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

F64 = npt.NDArray[np.float64]


def hadamard(x: F64, width: int) -> F64:
    """Return H x / sqrt(width), which is its own inverse, for each `width` elements of a row; see `hadamard_sums`."""
    scaled: F64 = hadamard_sums(x, width) / np.sqrt(width)
    return scaled


def hadamard_sums(x: npt.NDArray[np.floating], width: int) -> F64:
    """Return H x for each `width` elements of a row, H the Sylvester-Hadamard matrix of +1 and -1: H H = width.

    Parameters
    ----------
    x : float [..., k]
        k is a multiple of `width`.
    width : int
        A power of two.

    Returns
    -------
    float64 [..., k]
    """
    y = x.astype(np.float64).reshape(-1, width)
    distance = 1
    while distance < width:
        pairs = y.reshape(-1, 2, distance)
        y = np.stack([pairs[:, 0] + pairs[:, 1], pairs[:, 0] - pairs[:, 1]], axis=1).reshape(-1, width)
        distance *= 2
    sums: F64 = y.reshape(x.shape)
    return sums
