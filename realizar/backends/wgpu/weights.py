"""Weights on a device: uploaded once, in the form of their format, and shared by all programs of a backend."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from realizar.backends.wgpu.forms import Form, form_of, packed, row_bytes

if TYPE_CHECKING:
    from realizar.backends.wgpu.device import Device
    from realizar.runtime.weights import Tensor

UPLOAD = 1 << 24
"""Elements that are repacked and written at a time, so that temporaries stay small."""


class Part(NamedTuple):
    """Rows `first` to `first + n_rows` of a matrix: buffers by the name of the binding."""

    first: int
    n_rows: int
    buffers: dict[str, Any]


class Matrix(NamedTuple):
    """A tensor of n_rows rows of k elements. It has several parts if a kernel cannot read as large a buffer."""

    form: Form
    n_rows: int
    k: int
    parts: list[Part]

    @property
    def row_fours(self) -> int:
        """Groups of four elements in a row, the last one padded."""
        return -(-self.k // 4)


class Weights:
    """The weights of one backend.

    Parameters
    ----------
    device : Device

    Attributes
    ----------
    n_bytes : int
        Device memory of all weights.
    nothing : wgpu buffer
        For bindings that a kernel does not read.
    """

    def __init__(self, device: Device) -> None:
        self._device = device
        self._matrices: dict[int, tuple[Tensor, Matrix]] = {}  # a tensor is kept with its id
        self._vectors: dict[int, tuple[Tensor, Any]] = {}
        self.n_bytes = 0
        self.nothing = device.buffer(16)

    def matrix(self, tensor: Tensor) -> Matrix:
        """Return a tensor in the form of its format; ParameterError if there is no memory for it."""
        if id(tensor) not in self._matrices:
            self._matrices[id(tensor)] = (tensor, self._upload(tensor))
        return self._matrices[id(tensor)][1]

    def vector(self, tensor: Tensor) -> Any:
        """Return a buffer with the values of a tensor as float32."""
        if id(tensor) not in self._vectors:
            self._vectors[id(tensor)] = (tensor, self.floats(tensor.floats()))
        return self._vectors[id(tensor)][1]

    def floats(self, values: npt.NDArray[np.float32]) -> Any:
        """Return a new buffer with these numbers."""
        return self._written({"values": values})["values"]

    def close(self) -> None:
        """Free the memory of all weights."""
        for _, matrix in self._matrices.values():
            for part in matrix.parts:
                for buffer in part.buffers.values():
                    buffer.destroy()
        for _, buffer in self._vectors.values():
            buffer.destroy()
        self._matrices, self._vectors, self.n_bytes = {}, {}, 0

    def _upload(self, tensor: Tensor) -> Matrix:
        data = tensor.data.reshape(-1, tensor.data.shape[-1])
        k = tensor.shape[-1]
        most = max(1, self._device.max_binding // row_bytes(tensor.type, k))
        parts = []
        for first in range(0, len(data), most):
            rows = data[first : first + most]
            parts.append(Part(first, len(rows), self._upload_rows(rows, tensor.type, k)))
        return Matrix(form_of(tensor.type), len(data), k, parts)

    def _upload_rows(self, rows: npt.NDArray[np.uint8], type_name: str, k: int) -> dict[str, Any]:
        step = max(1, UPLOAD // k)
        first = packed(rows[:step], type_name)
        if len(rows) <= step:
            return self._written(first)
        per_row = {name: array.nbytes // len(rows[:step]) for name, array in first.items()}
        buffers = {name: self._device.buffer(n * len(rows)) for name, n in per_row.items()}
        self.n_bytes += sum(buffer.size for buffer in buffers.values())
        for start in range(0, len(rows), step):
            for name, array in packed(rows[start : start + step], type_name).items():
                self._device.gpu.queue.write_buffer(buffers[name], start * per_row[name], np.ascontiguousarray(array))
        return buffers

    def _written(self, arrays: dict[str, npt.NDArray[Any]]) -> dict[str, Any]:
        out = {}
        for name, array in arrays.items():
            raw = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
            raw = np.pad(raw, (0, -len(raw) % 4))
            out[name] = self._device.buffer(len(raw))
            self.n_bytes += out[name].size
            self._device.gpu.queue.write_buffer(out[name], 0, raw)
        return out
