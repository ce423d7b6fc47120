"""Files with a SavedCache: safetensors, with what the bits depend on and a checksum in the metadata (docs/cache.md)."""

from __future__ import annotations

import hashlib
import json
import math
import os
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from realizar.atomic import atomic_write
from realizar.engine.cache.block_pool import KEY_BYTES
from realizar.engine.cache.saved import SavedCache
from realizar.errors import CacheFileError, short_repr
from realizar.runtime.batch import BLOCK

if TYPE_CHECKING:
    import numpy.typing as npt

    Layout = dict[str, tuple[np.dtype[Any], tuple[int, ...]]]

FORMAT = "realizar KV cache 1"
MAX_HEADER = 16 << 20
KEYS, TOKENS = "keys", "tokens"
_DTYPES = {"|u1": "U8", "<i4": "I32", "<u4": "U32", "<f2": "F16", "<f4": "F32"}
"""numpy's names of types -> those of safetensors."""


def write(path: Path, saved: SavedCache, identity: Mapping[str, str]) -> None:
    """Write a file; it replaces an older one when it is complete.

    Raises
    ------
    CacheFileError
        If it cannot be written.
    """
    keys = np.frombuffer(b"".join(saved.keys), np.uint8).reshape(-1, KEY_BYTES)
    arrays: dict[str, npt.NDArray[Any]] = {KEYS: keys, TOKENS: saved.tokens, **saved.arrays}
    layout = {name: (array.dtype, array.shape) for name, array in arrays.items()}
    data = [_bytes(np.ascontiguousarray(array)) for array in arrays.values()]
    digest = hashlib.sha256()
    for part in data:
        digest.update(part)
    metadata = {"format": FORMAT, **identity, "sha256": digest.hexdigest()}
    header = json.dumps({"__metadata__": metadata, **_rows(layout)}).encode()
    header += b" " * (-len(header) % 8)  # so that the data are aligned
    try:
        with atomic_write(path) as file:
            file.write(len(header).to_bytes(8, "little") + header)
            for part in data:
                file.write(part)
    except OSError as error:
        raise CacheFileError(f"{path}: cannot be written: {error.strerror or error}") from error


def read(path: Path, identity: Mapping[str, str], layout: Callable[[int], Layout]) -> SavedCache:
    """Read a file; nothing in it is trusted.

    Parameters
    ----------
    path : Path
    identity : mapping
        What the metadata must be.
    layout : callable
        Returns type and shape of each array, given the number of blocks; raises ContextFullError.

    Raises
    ------
    CacheFileError
        If the file cannot be read, is damaged, or has another identity or layout.
    ContextFullError
        If it has more blocks than a sequence may have.
    """
    with _opened(path) as file:
        size = os.fstat(file.fileno()).st_size
        header, n_header = _header(path, file, size)
        metadata = header.pop("__metadata__")
        if metadata.get("format") != FORMAT:
            found = short_repr(metadata.get("format"))
            raise CacheFileError(f"{path}: is not of save_cache: its format is {found}")
        for name, value in identity.items():
            if metadata.get(name) != value:
                found = short_repr(metadata.get(name))
                raise CacheFileError(f"{path}: was saved with {name}={found}, not {value!r}; save it again")
        n = _n_blocks(path, header)
        wanted: Layout = {
            KEYS: (np.dtype(np.uint8), (n, KEY_BYTES)), TOKENS: (np.dtype(np.int32), (n * BLOCK,)), **layout(n),
        }  # fmt: skip
        if header != _rows(wanted):
            raise CacheFileError(f"{path}: its arrays are not those of {n} blocks of this cache; the file is damaged")
        if size != 8 + n_header + _n_bytes(wanted):
            raise CacheFileError(
                f"{path}: has {size} bytes, not {8 + n_header + _n_bytes(wanted)}; the file is truncated or damaged"
            )
        arrays, digest = _arrays(path, file, wanted)
    if digest != metadata.get("sha256"):
        raise CacheFileError(f"{path}: the sha256 of its data is another one than it says; the file is damaged")
    return SavedCache(arrays.pop(TOKENS), [key.tobytes() for key in arrays.pop(KEYS)], arrays)


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise CacheFileError(f"{path}: is not a regular file")
        with path.open("rb") as file:
            yield file
    except OSError as error:
        raise CacheFileError(f"{path}: cannot be read: {error.strerror or error}") from error


def _header(path: Path, file: BinaryIO, size: int) -> tuple[dict[str, Any], int]:
    """Return the header and its length; its metadata are a dict."""
    n = int.from_bytes(file.read(8), "little")
    if size < 8 or n > min(MAX_HEADER, size - 8):
        raise CacheFileError(f"{path}: has {size} bytes, too few for its header; it is truncated, or no cache file")
    try:
        header = json.loads(file.read(n))
    except (ValueError, RecursionError) as error:
        raise CacheFileError(f"{path}: its header is no JSON ({error}); it is damaged, or no cache file") from error
    if not isinstance(header, dict) or not isinstance(header.get("__metadata__"), dict):
        raise CacheFileError(f"{path}: its header has no metadata; it is damaged, or no cache file")
    return header, n


def _n_blocks(path: Path, header: Mapping[str, Any]) -> int:
    """Return the number of blocks, which the file says by its keys."""
    row = header.get(KEYS)
    shape = row.get("shape") if isinstance(row, dict) else None
    if not isinstance(shape, list) or not shape or type(shape[0]) is not int or shape[0] < 1:
        raise CacheFileError(f"{path}: has no keys of blocks; the file is damaged")
    return shape[0]


def _rows(layout: Layout) -> dict[str, Any]:
    """Return the header's row of each array; their data follow each other."""
    rows, end = {}, 0
    for name, (dtype, shape) in layout.items():
        begin, end = end, end + dtype.itemsize * math.prod(shape)
        rows[name] = {"dtype": _DTYPES[dtype.str], "shape": list(shape), "data_offsets": [begin, end]}
    return rows


def _n_bytes(layout: Layout) -> int:
    return sum(dtype.itemsize * math.prod(shape) for dtype, shape in layout.values())


def _bytes(array: npt.NDArray[Any]) -> memoryview:
    """Return the memory of a contiguous array."""
    return array.reshape(-1).view(np.uint8).data


def _arrays(path: Path, file: BinaryIO, layout: Layout) -> tuple[dict[str, npt.NDArray[Any]], str]:
    """Read the arrays; return them and their sha256."""
    digest, arrays = hashlib.sha256(), {}
    for name, (dtype, shape) in layout.items():
        array = arrays[name] = np.empty(shape, dtype)
        view = _bytes(array)
        n_read = 0
        while n_read < len(view):
            n = file.readinto(view[n_read:])  # type: ignore[attr-defined]
            if not n:
                raise CacheFileError(f"{path}: became shorter while it was read")
            n_read += n
        digest.update(view)
    return arrays, digest.hexdigest()
