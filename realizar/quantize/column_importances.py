"""How much the error of each column of a weight counts, from an importance matrix."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from realizar.errors import ParameterError
from realizar.gguf.imatrix import Imatrix
from realizar.quantize.tensor_types import EMBEDDINGS


def column_importances(imatrix: Imatrix, path: Path, name: str, shape: tuple[int, ...]) -> NDArray[np.float32] | None:
    """Return float32[n_expert, n_in], or None if the matrix has no entry for the tensor.

    Parameters
    ----------
    imatrix : Imatrix
    path : Path
        Its file, for the error message.
    name : str
        Of the tensor.
    shape : tuple of int
        Of the tensor: (n_out, n_in), or (n_expert, n_out, n_in).

    Raises
    ------
    ParameterError
        If the entry is of another size: it belongs to another model.
    """
    entry = imatrix.entries.get(name)
    if entry is None:
        return None
    n_expert = shape[0] if len(shape) > 2 else 1
    found = entry.mean_squares()
    if found.size != n_expert * shape[-1]:
        if name in EMBEDDINGS:  # their rows are looked up, so entries of other sizes are of no use
            return None
        raise ParameterError(
            f"{path}: {name}: has importances of {found.size} columns, but the tensor has {n_expert * shape[-1]}; "
            "the importance matrix is of another model"
        )
    return np.ascontiguousarray(found.reshape(n_expert, shape[-1]))
