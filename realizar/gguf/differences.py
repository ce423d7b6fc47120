"""Hashes of the tensors of a GGUF file, and the differences between two files."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from realizar.gguf.file import GGUFFile
from realizar.gguf.summary import summarize_value
from realizar.quants import FORMATS, dequantize

N_AT_ONCE = 2**22
"""Elements that are dequantized at once."""


def hash_tensors(file: GGUFFile) -> Iterator[tuple[str | None, str]]:
    """Yield the name and sha256 of the data of each tensor in file order, and then None and that of all of them.

    They are those of `llama-gguf-hash --sha256`: metadata do not change them, and neither do parts of a split model.
    """
    whole = hashlib.sha256()
    for name in file.tensors:
        data = file.data(name).data
        whole.update(data)
        yield name, hashlib.sha256(data).hexdigest()
    yield None, whole.hexdigest()


@dataclass(frozen=True)
class Difference:
    """One difference between two files.

    Attributes
    ----------
    kind : {"metadata", "tensor"}
    name : str
        The key, or the name of the tensor.
    first, second : dict | None
        The value in each file, None where it is missing: as in `summarize`, for a tensor its type, shape and bytes.
    change : float | None
        For two tensors of one shape |second - first| / |first| over all elements; None if a format cannot be
        dequantized.
    """

    kind: str
    name: str
    first: dict[str, Any] | None
    second: dict[str, Any] | None
    change: float | None = None


def differences(first: GGUFFile, second: GGUFFile) -> Iterator[Difference]:
    """Yield what differs: metadata by their bytes, then tensors by type, shape and bytes; the order does not count."""
    for key in dict.fromkeys((*first.metadata, *second.metadata)):
        metadata = [file.metadata for file in (first, second)]
        if not all(key in md for md in metadata) or metadata[0].encoded(key) != metadata[1].encoded(key):
            values = [summarize_value(md, key) if key in md else None for md in metadata]
            yield Difference("metadata", key, values[0], values[1])
    for name in dict.fromkeys((*first.tensors, *second.tensors)):
        infos = [file.tensors.get(name) for file in (first, second)]
        a, b = (
            None if info is None else {"type": info.type.name, "shape": list(info.shape), "n_bytes": info.n_bytes}
            for info in infos
        )
        if a != b or not np.array_equal(first.data(name), second.data(name)):
            yield Difference("tensor", name, a, b, _change(first, second, name))


def _change(first: GGUFFile, second: GGUFFile, name: str) -> float | None:
    """Return the relative difference of two tensors, computed some rows at a time."""
    infos = [file.tensors.get(name) for file in (first, second)]
    if infos[0] is None or infos[1] is None or infos[0].shape != infos[1].shape:
        return None
    types = [info.type.name for info in infos if info is not None]
    if any(type_name not in FORMATS for type_name in types):
        return None
    data = [file.data(name) for file in (first, second)]
    step = max(1, N_AT_ONCE // infos[0].shape[-1])
    difference = size = 0.0
    for i in range(0, len(data[0]), step):
        a, b = (dequantize(d[i : i + step], t).astype(np.float64) for d, t in zip(data, types, strict=True))
        difference += float(((b - a) ** 2).sum())
        size += float((a**2).sum())
    return math.sqrt(difference / size) if size else (0.0 if difference == 0 else math.inf)
