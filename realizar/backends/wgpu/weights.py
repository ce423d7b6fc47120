"""Weights on a device: uploaded once, in the form of their format, and shared by all programs of a backend."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from math import prod
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from realizar.backends.wgpu.forms import Form, book_of, form_of, packed, row_bytes

if TYPE_CHECKING:
    from realizar.backends.wgpu.device import Device
    from realizar.runtime.weights import Tensor

UPLOAD = 1 << 22
"""Elements that are repacked and written at a time, so that temporaries stay small."""
MAX_THREADS = 6
"""Threads that repack and copy; numpy is slower in more, where all map and unmap temporaries."""


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
    on_upload : callable | None
        Called with the bytes of the file that have been uploaded since it was last called.
    unread, unwritten : wgpu buffer
        For bindings that a kernel does not use.
    """

    def __init__(self, device: Device) -> None:
        self._device = device
        self._matrices: dict[tuple[int, ...], tuple[tuple[Tensor, ...], Matrix]] = {}  # tensors are kept with their ids
        self._books: dict[str, Any] = {}
        self._vectors: dict[tuple[int, ...], tuple[tuple[Tensor, ...], Any]] = {}
        self.n_bytes = 0
        self.on_upload: Callable[[int], None] | None = None
        self.unread, self.unwritten = device.buffer(16), device.buffer(16)
        self._pool = ThreadPoolExecutor(min(MAX_THREADS, os.cpu_count() or 1))

    def missing(self, tensors: Iterable[Tensor]) -> int:
        """Return the bytes in the file of those tensors that are not uploaded."""
        known = {number for key in (*self._matrices, *self._vectors) for number in key}
        return sum(tensor.data.nbytes for tensor in tensors if id(tensor) not in known)

    def fits(self, *tensors: Tensor) -> bool:
        """Whether a kernel can read these tensors as one matrix."""
        n = sum(prod(tensor.shape[:-1]) * row_bytes(tensor.type, tensor.shape[-1]) for tensor in tensors)
        return n <= self._device.max_binding

    def matrix(self, *tensors: Tensor) -> Matrix:
        """Return tensors of one format, their rows one after another; ParameterError if there is no memory for them."""
        key = tuple(map(id, tensors))
        if key not in self._matrices:
            self._matrices[key] = (tensors, self._upload(tensors))
        return self._matrices[key][1]

    def vector(self, *tensors: Tensor) -> Any:
        """Return a buffer with the values of tensors as float32, one after another."""
        key = tuple(map(id, tensors))
        if key not in self._vectors:
            values = np.concatenate([tensor.floats().reshape(-1) for tensor in tensors])
            self._vectors[key] = (tensors, self.floats(values))
        return self._vectors[key][1]

    def floats(self, values: npt.NDArray[np.float32]) -> Any:
        """Return a new buffer with these numbers."""
        buffer = self._device.buffer(values.nbytes)
        self.n_bytes += buffer.size
        self._device.gpu.queue.write_buffer(buffer, 0, np.ascontiguousarray(values))
        return buffer

    def memory(self, n_bytes: int) -> Any:
        """Return a new buffer."""
        return self._device.buffer(n_bytes)

    def close(self) -> None:
        """Free the memory of all weights."""
        self._pool.shutdown()
        for _, matrix in self._matrices.values():
            for part in matrix.parts:
                for buffer in part.buffers.values():
                    buffer.destroy()
        for _, buffer in self._vectors.values():
            buffer.destroy()
        self._matrices, self._vectors, self._books, self.n_bytes = {}, {}, {}, 0

    def _upload(self, tensors: tuple[Tensor, ...]) -> Matrix:
        type_name, k = tensors[0].type, tensors[0].shape[-1]
        rows = [tensor.data.reshape(-1, tensor.data.shape[-1]) for tensor in tensors]
        n_rows = sum(map(len, rows))
        most = n_rows if self.fits(*tensors) else max(1, self._device.max_binding // row_bytes(type_name, k))
        parts = []
        for first in range(0, n_rows, most):  # several parts only for one tensor
            own = rows if most == n_rows else [rows[0][first : first + most]]
            buffers = {**self._upload_rows(own, type_name, k), **self._book(type_name)}
            parts.append(Part(first, sum(map(len, own)), buffers))
        return Matrix(form_of(type_name), n_rows, k, parts)

    def _book(self, type_name: str) -> dict[str, Any]:
        """Return the buffer of a format's codewords, if it has any; all weights share it."""
        words = book_of(type_name)
        if words is None:
            return {}
        if type_name not in self._books:
            self._books[type_name] = self._device.buffer(words.nbytes)
            self.n_bytes += words.nbytes
            self._device.gpu.queue.write_buffer(self._books[type_name], 0, words)
        return {"book": self._books[type_name]}

    def _upload_rows(self, tensors: list[npt.NDArray[np.uint8]], type_name: str, k: int) -> dict[str, Any]:
        per_row = {name: array.nbytes for name, array in packed(tensors[0][:1], type_name).items()}
        buffers = {name: self._device.buffer(n * sum(map(len, tensors))) for name, n in per_row.items()}
        self.n_bytes += sum(buffer.size for buffer in buffers.values())
        step = max(1, UPLOAD // k)
        chunks = [rows[start : start + step] for rows in tensors for start in range(0, len(rows), step)]
        starts = np.cumsum([0, *map(len, chunks)])

        def upload(start: int, rows: npt.NDArray[np.uint8]) -> int:
            for name, array in packed(rows, type_name).items():
                self._device.gpu.queue.write_buffer(buffers[name], start * per_row[name], array)
            self._device.gpu.queue.submit([])  # then the memory of the copies that write_buffer makes is used again
            return rows.nbytes

        for n_bytes in self._pool.map(upload, starts[:-1].tolist(), chunks):
            if self.on_upload is not None:
                self.on_upload(n_bytes)
        return buffers
