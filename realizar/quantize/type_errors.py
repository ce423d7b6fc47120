"""The squared error of a tensor in each type that it may get, estimated from some of its rows."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from realizar._kernels.plan import Pool
from realizar._kernels.quantize import TARGETS, quantize
from realizar.gguf import GGMLType
from realizar.quantize.sources import SourceTensor
from realizar.quantize.tensor_types import COARSE, TRAINED
from realizar.quants import FORMATS

N_ROWS = 256
"""Rows to quantize, at least one of each matrix: their mean error differs from that of all rows by about a percent."""

Weights = NDArray[np.float32]


class SampledRows:
    """Some rows of a tensor, evenly spaced.

    Parameters
    ----------
    pool : Pool
    tensor : SourceTensor
    weights : float32 [n_matrices, n_in], optional
        How much the error of each column counts.

    Raises
    ------
    ValueError
        As `quantize`.
    """

    def __init__(self, pool: Pool, tensor: SourceTensor, weights: Weights | None) -> None:
        self._pool, self._k, self._source = pool, tensor.shape[-1], tensor.type.name
        rows = tensor.rows()
        n_matrices = 1 if weights is None else len(weights)
        by_matrix = rows.reshape(n_matrices, -1, rows.shape[-1])
        step = math.ceil(by_matrix.shape[1] / max(1, N_ROWS // n_matrices))
        self._rows = np.ascontiguousarray(by_matrix[:, ::step]).reshape(-1, rows.shape[-1])
        self._weights = weights
        self._values = self._dequantized(self._rows, self._source)

    def _dequantized(self, rows: NDArray[np.uint8], source: str) -> NDArray[np.float32]:
        return quantize(self._pool, rows, source, "F32", self._k).view(np.float32)

    def error(self, target: str, is_weighted: bool = True) -> float:
        """Return the sum of the squared errors in a type, each times its column's weight.

        `is_weighted` says whether the quantizer knows the weights, too.
        """
        weights = self._weights if is_weighted else None
        rows = quantize(self._pool, self._rows, self._source, target, self._k, weights)
        squares = np.square(self._dequantized(rows, target) - self._values, dtype=np.float64)
        if self._weights is not None:
            squares = squares.reshape(len(self._weights), -1, self._k) * self._weights[:, None]
        return float(squares.sum())


TOO_COARSE = ("IQ1_S", "IQ1_M")
"""Types whose errors were not compared with divergences (docs/budget.md)."""


def smaller_types(tensor: SourceTensor, has_weights: bool) -> list[str]:
    """Return the types that make a tensor smaller and that its rows allow; coarse ones only with importances."""
    k = tensor.shape[-1]
    return [
        name for name in TARGETS
        if k % GGMLType[name].n_elements == 0 and GGMLType[name].row_bytes(k) < tensor.type.row_bytes(k)
        and name in FORMATS and name not in (*TRAINED, *TOO_COARSE) and (has_weights or name not in COARSE)
    ]  # fmt: skip
