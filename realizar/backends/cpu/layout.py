"""How the CPU backend's kernels take weights: views of the file, and float32 copies where a kernel needs floats."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from realizar.quants import dequantize
from realizar.runtime.weights import Tensor


def floats(tensors: Mapping[str, Tensor], name: str) -> npt.NDArray[np.float32]:
    """A small tensor (norm, bias, factors) as contiguous float32 [n]."""
    return np.ascontiguousarray(tensors[name].floats().reshape(-1))


def of_experts(tensor: Tensor) -> tuple[str, npt.NDArray[np.uint8]]:
    """The format and rows of each expert, uint8 [n_expert, n_rows, row_bytes]: a view, of a fused tensor with gaps."""
    return tensor.type, tensor.data.reshape(*tensor.shape[:2], -1)


def heads_of(
    tensor: Tensor, n_head: int, rows: tuple[int, int] | None, transposed: bool
) -> tuple[str, list[npt.NDArray[np.uint8]]]:
    """The matrix of each head as `per_head_linear` takes it: its format, and uint8 [n_out, row_bytes] for each head.

    Views of the file; float32 copies where rows and columns are exchanged, since blocks lie along rows.
    """
    data = tensor.data.reshape(n_head, -1, tensor.data.shape[-1])
    heads = list(data[:, slice(*rows)] if rows else data)
    if not transposed:
        return tensor.type, heads
    return "F32", [np.ascontiguousarray(dequantize(head, tensor.type).T).view(np.uint8) for head in heads]
