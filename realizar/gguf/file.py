"""GGUFFile: reads a model file; tensors are zero-copy views of the mapped file."""

from __future__ import annotations

import errno
import hashlib
import mmap
import os
import stat
from pathlib import Path
from types import TracebackType
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from realizar.errors import GGUFError, ModelNotFoundError, OutOfMemoryError, ParameterError
from realizar.forks import cached_property
from realizar.gguf.metadata import Metadata
from realizar.gguf.parse import Header, parse_header
from realizar.gguf.split import check_part, part_paths
from realizar.gguf.types import TensorInfo

Load = Literal["mmap", "read"]


class GGUFFile:
    """A GGUF file (version 2 or 3), or a split model opened by its first part.

    Opening reads only the header; string arrays such as the vocabulary are decoded on first access.

    Parameters
    ----------
    path : str | os.PathLike[str]
        The file, or the first part, named like `name-00001-of-00003.gguf`.
    load : {"mmap", "read"}
        "mmap" maps the file: pages are read on first access and shared with other processes. If a mapped file is
        truncated while in use, the operating system kills the process. "read" copies the file into memory first,
        which avoids this.

    Attributes
    ----------
    path : Path
        As given.
    paths : tuple of Path
        Those of all parts.
    metadata : Metadata
        Metadata (of the first part).
    tensors : dict[str, TensorInfo]
        In file order.
    n_bytes : int
        Size of all parts.
    version : int
        GGUF version.

    Raises
    ------
    ModelNotFoundError
        If the file does not exist.
    GGUFError
        If the file cannot be read or is invalid.
    ParameterError
        If `load` is invalid.
    """

    def __init__(self, path: str | os.PathLike[str], load: Load = "mmap") -> None:
        if load not in ("mmap", "read"):
            raise ParameterError(f"load={load!r}: must be 'mmap' or 'read'")
        self.path = Path(path)
        self.paths: tuple[Path, ...] = (self.path,)
        first = _open(self.path, load)
        header = parse_header(first, self.path.name)
        self._buffers = [first]
        self.metadata: Metadata = header.metadata
        self.tensors: dict[str, TensorInfo] = dict(header.tensors)
        self.version: int = header.version
        self._add_parts(header, load)
        self.n_bytes: int = sum(len(buffer) for buffer in self._buffers)

    def __enter__(self) -> GGUFFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<GGUFFile {self.path.name}: {len(self.tensors)} tensors, {self.n_bytes} bytes>"

    @property
    def architecture(self) -> str:
        """The value of "general.architecture"; raises GGUFError if it is missing."""
        return self.metadata.get_str("general.architecture")

    def data(self, name: str) -> NDArray[np.uint8]:
        """Return the bytes of a tensor as stored in the file.

        Parameters
        ----------
        name : str
            Key of `tensors`.

        Returns
        -------
        uint8[n_rows, row_bytes]
            A read-only view; all dimensions but the last are flattened to rows. It keeps the file mapped.

        Raises
        ------
        GGUFError
            If the tensor does not exist or the file is closed.
        """
        info = self.tensors.get(name)
        if info is None:
            raise GGUFError(f"{self.path.name}: {name}: no tensor has this name")
        if not self._buffers:
            raise GGUFError(f"{self.path.name}: {name}: the file is closed")
        array = np.frombuffer(self._buffers[info.part], np.uint8, info.n_bytes, info.offset)
        return array.reshape(-1, info.row_bytes)

    @cached_property
    def sha256(self) -> str:
        """The sha256 of all parts, one after the other, in hexadecimal; reading them takes a while."""
        digest = hashlib.sha256()
        for buffer in self._buffers:
            digest.update(buffer)
        return digest.hexdigest()

    def close(self) -> None:
        """Close the file. Its memory is released when the last tensor view is deleted."""
        self.metadata.release()
        self._buffers = []

    def _add_parts(self, first: Header, load: Load) -> None:
        paths = part_paths(self.path, first.metadata)
        self.paths = tuple(paths)
        for part, path in enumerate(paths[1:], start=1):
            buffer = _open(path, load)
            header = parse_header(buffer, path.name, part)
            check_part(path, header.metadata, part, len(paths))
            for name in header.tensors:
                if name in self.tensors:
                    raise GGUFError(f"{path.name}: {name}: a tensor with this name is also in an earlier part")
            self._buffers.append(buffer)
            self.tensors.update(header.tensors)
        wanted = first.metadata.get_int("split.tensors.count", len(self.tensors))
        if len(paths) > 1 and wanted != len(self.tensors):
            raise GGUFError(
                f"{self.path.name}: split.tensors.count is {wanted}, but the parts hold {len(self.tensors)}; "
                "they may belong to different models"
            )


def _open(path: Path, load: Load) -> memoryview:
    """Map or read a file; the returned view is read-only and keeps the memory alive."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise GGUFError(f"{path}: is not a regular file")
        with open(path, "rb") as f:
            size = os.fstat(f.fileno()).st_size
            if size == 0:
                raise GGUFError(f"{path}: is empty; the download may have failed")
            if load == "mmap":
                return memoryview(mmap.mmap(f.fileno(), size, access=mmap.ACCESS_READ))
            memory = mmap.mmap(-1, size)  # anonymous pages, aligned like a mapped file
            n_read = f.readinto(memory)
    except FileNotFoundError:
        raise ModelNotFoundError(f"{path}: no such file") from None
    except (OSError, ValueError) as e:
        if isinstance(e, OSError) and e.errno == errno.ENOMEM:
            raise OutOfMemoryError(f"{path}: out of memory for its {os.stat(path).st_size / 2**20:.1f} MiB: {e}") from e
        raise GGUFError(f"{path}: cannot be read: {e}") from e
    if n_read != size:
        raise GGUFError(f"{path}: ended at {n_read} of {size} bytes while it was read; another process is changing it")
    return memoryview(memory).toreadonly()
