"""Models to quantize: a GGUF file, or a Hugging Face folder that is converted on the way."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from realizar.convert import read_checkpoint
from realizar.errors import GGUFError
from realizar.gguf import GGMLType, GGUFFile
from realizar.gguf.encode import encode
from realizar.gguf.parse import ALIGNMENT_KEY
from realizar.gguf.split import KEYS as SPLIT_KEYS

LEFT_OUT = (ALIGNMENT_KEY, *SPLIT_KEYS)
"""Metadata of the file that is read, not of the model; as is what names an earlier importance matrix."""


@dataclass(frozen=True)
class SourceTensor:
    """A tensor of a model: name, shape, type, and a function that returns its rows, uint8[n_rows, row_bytes]."""

    name: str
    shape: tuple[int, ...]
    type: GGMLType
    rows: Callable[[], NDArray[np.uint8]]


@dataclass(frozen=True)
class Source:
    """A model.

    Attributes
    ----------
    metadata : mapping
        Its values.
    encoded : dict of str to bytes
        The same as a GGUF file stores them, but LEFT_OUT.
    tensors : tuple of SourceTensor
    paths : tuple of Path
        The GGUF files that are read.
    """

    metadata: Mapping[str, Any]
    encoded: dict[str, bytes]
    tensors: tuple[SourceTensor, ...]
    paths: tuple[Path, ...] = ()


@contextmanager
def open_source(path: str | os.PathLike[str]) -> Iterator[Source]:
    """Open a GGUF file or a Hugging Face folder; raises the errors of GGUFFile and of `convert`."""
    path = Path(path)
    if path.is_dir():
        yield _folder(path)
        return
    with GGUFFile(path) as file:
        if not file.metadata.get("general.architecture") or not file.tensors:
            raise GGUFError(f"{path.name}: is no model: it has no general.architecture, or no tensors")
        tensors = [
            SourceTensor(info.name, info.shape, info.type, partial(file.data, info.name))
            for info in file.tensors.values()
        ]
        encoded = {key: file.metadata.encoded(key) for key in file.metadata if not _is_of_the_file(key)}
        yield Source(file.metadata, encoded, tuple(tensors), file.paths)


def _is_of_the_file(key: str) -> bool:
    return key in LEFT_OUT or key.startswith("quantize.imatrix.")


def _folder(path: Path) -> Source:
    found = read_checkpoint(path, "F32")  # bfloat16 and float16 are exact in it
    tensors = [
        SourceTensor(tensor.name, tensor.shape, tensor.type, partial(_rows, tensor.data, tensor.type, tensor.shape[-1]))
        for tensor in found.tensors
    ]
    encoded = {key: encode(key, value) for key, value in found.keys.items()}
    return Source(found.keys, encoded, tuple(tensors))


def _rows(data: Callable[[], NDArray[np.uint8]], type: GGMLType, k: int) -> NDArray[np.uint8]:
    return data().reshape(-1, type.row_bytes(k))
