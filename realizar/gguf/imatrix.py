"""Importance matrices: mean squares of the inputs of each weight, in the files of llama.cpp's imatrix tool.

Two forms exist: GGUF, with two tensors for each weight (tools/imatrix/README.md of llama.cpp), and the older binary
form ".dat" (common/imatrix-loader.cpp there).
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from realizar.errors import GGUFError, ModelNotFoundError
from realizar.gguf.cursor import shorten
from realizar.gguf.file import GGUFFile
from realizar.gguf.parse import MAGIC
from realizar.gguf.types import GGMLType, ValueType
from realizar.gguf.writer import GGUFWriter

SUMS, COUNTS = ".in_sum2", ".counts"
"""Suffixes of the two tensors of a weight in the GGUF form."""

F32 = NDArray[np.float32]


@dataclass(frozen=True)
class ImatrixEntry:
    """The inputs that one weight has seen.

    Attributes
    ----------
    sums : float32[n_expert, n_in]
        Sums of the squares of the inputs, over tokens; n_expert is 1 for a matrix. If all matrices of a tensor have one
        count, as those of heads, and in the older form, the shape is (1, n_expert * n_in).
    counts : float32[n_expert]
        Number of tokens.
    """

    sums: F32
    counts: F32

    def mean_squares(self) -> F32:
        """Return float32[n_expert, n_in]: sums / counts, and 1 for an expert that has seen no token."""
        counts = self.counts[:, None]
        return np.where(counts > 0, self.sums / np.maximum(counts, 1), np.float32(1))


@dataclass(frozen=True)
class Imatrix:
    """An importance matrix.

    Attributes
    ----------
    entries : dict[str, ImatrixEntry]
        Keyed by the weight's name in the model's file, such as "blk.0.ffn_up.weight".
    datasets : tuple of str
        Names of the texts that the model has read.
    chunk_count, chunk_size : int
        Number of the chunks of those texts, and tokens of a chunk (0 in the older form, which does not have it).
    """

    entries: dict[str, ImatrixEntry]
    datasets: tuple[str, ...]
    chunk_count: int
    chunk_size: int


def read_imatrix(path: str | os.PathLike[str]) -> Imatrix:
    """Read an importance matrix in either form.

    Raises
    ------
    ModelNotFoundError
        If the file does not exist.
    GGUFError
        If it is not an importance matrix, is damaged, or has sums or counts that are negative or not finite.
    """
    path = Path(path)
    try:
        with open(path, "rb") as f:
            is_gguf = f.read(len(MAGIC)) == MAGIC
        found = _read_gguf(path) if is_gguf else _Legacy(path).read()
    except FileNotFoundError:
        raise ModelNotFoundError(f"{path}: no such file") from None
    except OSError as error:
        raise GGUFError(f"{path}: cannot be read: {error}") from error
    for name, entry in found.entries.items():
        for array in (entry.sums, entry.counts):
            if not (np.isfinite(array).all() and (array >= 0).all()):
                raise GGUFError(f"{path.name}: {shorten(name)}: an importance is negative, infinite or NaN")
    return found


def write_imatrix(path: str | os.PathLike[str], imatrix: Imatrix) -> None:
    """Write an importance matrix in the GGUF form, atomically; llama.cpp's tools read it.

    Entries are sorted by name, each a tensor NAME.in_sum2 [n_expert, n_in] and a tensor NAME.counts [n_expert, 1].

    Raises
    ------
    OSError
        If the file cannot be written.
    """
    writer = GGUFWriter(path)
    writer.add("general.type", "imatrix")
    writer.add("imatrix.datasets", imatrix.datasets, ValueType.STRING)
    writer.add("imatrix.chunk_count", imatrix.chunk_count)
    writer.add("imatrix.chunk_size", imatrix.chunk_size)
    for name, entry in sorted(imatrix.entries.items()):
        for suffix, values in ((SUMS, entry.sums), (COUNTS, entry.counts.reshape(-1, 1))):
            data = np.ascontiguousarray(values, "<f4").view(np.uint8)
            writer.add_tensor(name + suffix, data, values.shape, GGMLType.F32)
    writer.write()


def _read_gguf(path: Path) -> Imatrix:
    entries: dict[str, ImatrixEntry] = {}
    with GGUFFile(path) as file:
        for sums_name in file.tensors:
            if not sums_name.endswith(SUMS):
                continue
            name = sums_name.removesuffix(SUMS)
            sums, counts = _float_tensor(file, sums_name), _float_tensor(file, name + COUNTS).reshape(-1)
            if len(sums) != len(counts):
                raise GGUFError(
                    f"{path.name}: {shorten(name)}: sums of {len(sums)} experts, but counts of {len(counts)}"
                )
            entries[name] = ImatrixEntry(sums, counts)
        if not entries:
            raise GGUFError(f"{path.name}: is not an importance matrix: no tensor's name ends in {SUMS}")
        return Imatrix(
            entries,
            tuple(file.metadata.get_strs("imatrix.datasets", [])),
            file.metadata.get_int("imatrix.chunk_count", 0),
            file.metadata.get_int("imatrix.chunk_size", 0),
        )


def _float_tensor(file: GGUFFile, name: str) -> F32:
    """Return a float32 tensor as a copy, [n_expert, n]."""
    data = file.data(name)
    if file.tensors[name].type != GGMLType.F32:
        raise GGUFError(f"{file.path.name}: {shorten(name)}: has type {file.tensors[name].type.name}, must be F32")
    return data.view("<f4").astype(np.float32)


class _Legacy:
    """The older form: a count of entries, each with name, calls and mean squares times calls; chunks; a data set."""

    def __init__(self, path: Path) -> None:
        self._where = path.name
        self._data = path.read_bytes()
        self._at = 0

    def read(self) -> Imatrix:
        n_entries = self._int()
        if not 1 <= n_entries <= len(self._data) // 16:
            raise GGUFError(f"{self._where}: is neither a GGUF file nor an importance matrix of the older form")
        entries: dict[str, ImatrixEntry] = {}
        for _ in range(n_entries):
            name = self._text()
            n_calls = self._int()
            sums = np.frombuffer(self._take(4 * self._int()), "<f4").astype(np.float32)
            # llama.cpp takes the numbers as they are if no call was counted.
            entries[name] = ImatrixEntry(sums[None], np.array([max(n_calls, 1)], np.float32))
        if self._at == len(self._data):  # files before 2024 end here
            return Imatrix(entries, (), 0, 0)
        return Imatrix(entries, chunk_count=self._int(), datasets=(self._text(),), chunk_size=0)

    def _int(self) -> int:
        return int(struct.unpack("<i", self._take(4))[0])

    def _text(self) -> str:
        return self._take(self._int()).decode("utf-8", "backslashreplace")

    def _take(self, n: int) -> bytes:
        start, self._at = self._at, self._at + n
        if n < 0 or self._at > len(self._data):
            raise GGUFError(
                f"{self._where}: is neither a GGUF file nor a whole importance matrix of the older form: "
                f"{n} bytes are expected at {start} of {len(self._data)}"
            )
        return self._data[start : self._at]
