"""GGUFWriter: writes a GGUF file (version 3) atomically, one tensor at a time."""

from __future__ import annotations

import math
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from realizar.atomic import atomic_write
from realizar.errors import ParameterError
from realizar.gguf.encode import encode, encode_string
from realizar.gguf.metadata import Metadata
from realizar.gguf.parse import ALIGNMENT_KEY, DEFAULT_ALIGNMENT, MAGIC, MAX_DIMS
from realizar.gguf.target import check_target
from realizar.gguf.types import GGMLType, TensorInfo, ValueType

VERSION = 3

Data = NDArray[np.uint8] | Callable[[], NDArray[np.uint8]]

MAX_ALIGNMENT = 1 << 20
"""Zeros of up to this many bytes follow each tensor."""


class GGUFWriter:
    """Collects metadata and tensors, then writes the file.

    Parameters
    ----------
    path : str | os.PathLike[str]
        Output path; the file appears only after `write` has succeeded.

    Examples
    --------
    >>> writer = GGUFWriter(path)
    >>> writer.add("general.architecture", "llama")
    >>> writer.add_tensor("output.weight", quantize(x, "Q8_0"), x.shape, GGMLType.Q8_0)
    >>> writer.write()
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._values: dict[str, bytes] = {}
        self._tensors: dict[str, TensorInfo] = {}
        self._data: dict[str, Data] = {}
        self._alignment = DEFAULT_ALIGNMENT
        self._end = 0

    def add(self, key: str, value: Any, type: ValueType | None = None) -> None:
        """Add a metadata value.

        Parameters
        ----------
        key : str
            For example "llama.block_count".
        value : bool | int | float | str | list | tuple | ndarray
            Lists, tuples and one-dimensional arrays become GGUF arrays.
        type : ValueType | None
            Type in the file; for an array, type of its elements. None uses a numpy value's type, else BOOL, STRING,
            FLOAT32, and for integers UINT32 (INT32 in arrays and for negative numbers), or 64 bits if needed.

        Raises
        ------
        ParameterError
            If the key was already added, the value is out of the type's range, or an alignment is not a power of two
            or added after the first tensor.
        """
        if key in self._values:
            raise ParameterError(f"{key}: was already added")
        if key == ALIGNMENT_KEY:
            self._align(value)
            type = ValueType.UINT32
        self._values[key] = encode(key, value, type)

    def copy(self, metadata: Metadata, key: str) -> None:
        """Add a value of another file, byte for byte; raises like `add`."""
        if key == ALIGNMENT_KEY:
            self.add(key, metadata[key])
        else:
            self.add_encoded(key, metadata.encoded(key))

    def add_encoded(self, key: str, value: bytes) -> None:
        """Add a value as `encode` and `Metadata.encoded` return it.

        Raises ParameterError if the key was added, or is the alignment, which `add` and `copy` take.
        """
        if key == ALIGNMENT_KEY:
            raise ParameterError(f"{key}: must be added by `add` or `copy`, since it changes where tensors are")
        if key in self._values:
            raise ParameterError(f"{key}: was already added")
        self._values[key] = value

    def add_tensor(self, name: str, data: Data, shape: tuple[int, ...], type: GGMLType) -> None:
        """Add a tensor.

        Parameters
        ----------
        name : str
            For example "blk.0.ffn_up.weight".
        data : uint8[...] or callable
            Its bytes as stored in the file, of any shape. Kept by reference until `write`; a callable is called only
            then, so that the file may be larger than memory.
        shape : tuple[int, ...]
            In numpy's order: (n_out, n_in) for a linear weight.
        type : GGMLType
            Type of the data.

        Raises
        ------
        ParameterError
            If the name was already added, or the number of bytes does not match shape and type.
        """
        if name in self._tensors:
            raise ParameterError(f"{name}: was already added")
        shape = tuple(int(n) for n in shape)
        if not 1 <= len(shape) <= MAX_DIMS or min(shape) < 1:
            raise ParameterError(f"{name}: shape {shape}; must be 1 to {MAX_DIMS} dimensions of at least 1")
        n_bytes = math.prod(shape[:-1]) * type.row_bytes(shape[-1])
        info = TensorInfo(name, shape, type, self._end, n_bytes)
        if not callable(data):
            _check(info, data)
        self._tensors[name] = info
        self._data[name] = data
        self._end += self._padded(n_bytes)

    @property
    def n_bytes(self) -> int:
        """Size of the file with what was added so far."""
        return self._padded(len(self._header())) + self._end

    def write(self) -> None:
        """Write the file; it appears when it is whole (`atomic_write`). Raises ParameterError as `check_target`."""
        check_target(self.path)
        with atomic_write(self.path) as f:
            self.write_to(f)

    def write_to(self, f: BinaryIO) -> None:
        """Write the bytes of the file to an open one, at its beginning."""
        self._write_padded(f, self._header())
        for name in self._data:
            self._write_tensor(f, name)

    def _write_tensor(self, f: BinaryIO, name: str) -> None:
        """Write one tensor; its data, if made here, is freed before the next is made."""
        data = self._data[name]
        made = data() if callable(data) else data
        _check(self._tensors[name], made)
        self._write_padded(f, np.ascontiguousarray(made).data)

    def _write_padded(self, f: BinaryIO, data: bytes | memoryview) -> None:
        """Write data and zeros up to the alignment, behind the last tensor, too: ggml reads them with the tensors."""
        f.write(data)
        f.write(bytes(-f.tell() % self._alignment))

    def _padded(self, n_bytes: int) -> int:
        return -(-n_bytes // self._alignment) * self._alignment

    def _align(self, value: object) -> None:
        if not isinstance(value, int) or not 8 <= value <= MAX_ALIGNMENT or value & (value - 1):
            raise ParameterError(f"{ALIGNMENT_KEY}: {value!r}; must be a power of two from 8 to {MAX_ALIGNMENT}")
        if self._tensors:
            raise ParameterError(f"{ALIGNMENT_KEY}: must be added before the first tensor")
        self._alignment = value

    def _header(self) -> bytes:
        parts = [MAGIC, struct.pack("<IQQ", VERSION, len(self._tensors), len(self._values))]
        for key, value in self._values.items():
            parts += [encode_string(key, key), value]
        for info in self._tensors.values():
            ne = info.shape[::-1]
            parts.append(encode_string(info.name, info.name))
            parts.append(struct.pack(f"<I{len(ne)}QIQ", len(ne), *ne, info.type, info.offset))
        return b"".join(parts)


def _check(info: TensorInfo, data: NDArray[np.uint8]) -> None:
    if data.dtype != np.uint8 or data.nbytes != info.n_bytes:
        raise ParameterError(
            f"{info.name}: {info.type.name} of shape {info.shape} is {info.n_bytes} bytes of uint8, "
            f"but the data is {data.nbytes} bytes of {data.dtype}"
        )
