"""Weights in the form that the CPU kernels require: views of the file, or float32 copies."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from realizar.quants import dequantize
from realizar.runtime.weights import Tensor

Floats = npt.NDArray[np.float32]
ExpertWeight = tuple[str, npt.NDArray[np.uint8], Floats | None, Floats | None]
"""A weight of experts for the kernels."""


def floats(tensors: Mapping[str, Tensor], name: str) -> npt.NDArray[np.float32]:
    """Return a small tensor (norm, bias, factors) as contiguous float32 [n]."""
    return np.ascontiguousarray(tensors[name].floats().reshape(-1))


def of_experts(tensors: Mapping[str, Tensor], name: str, bias: str | None, scales: str | None) -> ExpertWeight:
    """Return the format of a weight, the rows, uint8 [n_expert, n_rows, row_bytes], biases and scales of its experts.

    The rows are a view, strided if fused.
    """
    tensor = tensors[name]
    b, s = (None if other is None else floats(tensors, other) for other in (bias, scales))
    return tensor.type, tensor.data.reshape(*tensor.shape[:2], -1), b, s


def heads_of(
    tensor: Tensor, n_head: int, rows: tuple[int, int] | None, transposed: bool
) -> tuple[str, list[npt.NDArray[np.uint8]]]:
    """Return the format of a per-head matrix, and uint8 [n_out, row_bytes] for each head, for `per_head_linear`.

    Views of the file; float32 copies if the matrix is transposed, because blocks are along rows.
    """
    n_part = n_head if len(tensor.shape) == 1 else 1  # a vector has the rows of all heads one after another
    data = tensor.data.reshape(n_head, -1, tensor.data.shape[-1] // n_part)
    heads = list(data[:, slice(*rows)] if rows else data)
    if not transposed:
        return tensor.type, heads
    return "F32", [np.ascontiguousarray(dequantize(head, tensor.type).T).view(np.uint8) for head in heads]
