"""The cache folder: where it is, one writer at a time, and files that land whole or not at all."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from realizar.errors import DownloadError

CHUNK = 1 << 20  # bytes read at a time
FULL = {errno.ENOSPC: "the disk is full", errno.EDQUOT: "your disk quota is used up"}
FORBIDDEN = {
    errno.EROFS: "it is read-only",
    errno.EACCES: "you may not write there",
    errno.EPERM: "you may not write there",
}
BLOCKED = {errno.EEXIST: "a file", errno.ENOTDIR: "a file", errno.EISDIR: "a folder"}


def cache_dir() -> Path:
    """The folder models are kept in: REALIZAR_CACHE, or the user's cache folder for realizar."""
    if override := os.environ.get("REALIZAR_CACHE"):
        return Path(override).expanduser()
    from platformdirs import user_cache_path

    return user_cache_path("realizar", appauthor=False)


def has_size(path: Path, n_bytes: int) -> bool:
    """Whether a file is there with all its bytes."""
    try:
        return path.is_file() and path.stat().st_size == n_bytes
    except OSError:  # in a folder that may not be looked into
        return False


def sha256_of(path: Path) -> str:
    """The sha256 of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def cannot_store(name: str, folder: Path, error: OSError) -> DownloadError:
    """The error to raise where a model cannot be stored in the cache folder: why, and what to do."""
    remedy = "name another folder in REALIZAR_CACHE"
    if error.errno in FULL:
        reason, remedy = f"{FULL[error.errno]}{_room(folder)}", f"make room there, or {remedy}"
    elif error.errno in FORBIDDEN:
        reason = FORBIDDEN[error.errno]
    elif error.errno in BLOCKED:
        path, other = error.filename2 or error.filename, "file" if error.errno == errno.EISDIR else "folder"
        reason = f"{path} is {BLOCKED[error.errno]} where a {other} is needed"
        remedy = f"remove it, or {remedy}"
    else:
        reason = error.strerror or str(error)
    return DownloadError(f"{name}: cannot be stored in {folder}: {reason}; {remedy}")


def _room(folder: Path) -> str:
    try:
        return f", {shutil.disk_usage(folder).free / 1e6:.0f} MB are free"
    except OSError:
        return ""


@contextmanager
def landing(target: Path) -> Iterator[BinaryIO]:
    """Open a temporary file beside `target` that takes its place when the block ends well, and goes otherwise."""
    handle, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".part", dir=target.parent)
    try:
        with os.fdopen(handle, "wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(name, target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def sweep(target: Path) -> None:
    """Remove what a killed process left of `target`; call with the lock held."""
    for leftover in target.parent.glob(f".{target.name}.*.part"):
        leftover.unlink(missing_ok=True)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock file; the system lets go of it when the process ends, however it ends."""
    with path.open("ab") as stream:
        if not _try_lock(stream):
            print(f"waiting for another process that holds {path}", file=sys.stderr)
            _wait_lock(stream)
        yield


if sys.platform == "win32":
    import msvcrt
    import time

    def _try_lock(stream: BinaryIO) -> bool:
        try:
            msvcrt.locking(stream.fileno(), msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

    def _wait_lock(stream: BinaryIO) -> None:
        while not _try_lock(stream):
            time.sleep(0.2)

else:
    import fcntl

    def _try_lock(stream: BinaryIO) -> bool:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _wait_lock(stream: BinaryIO) -> None:
        fcntl.flock(stream, fcntl.LOCK_EX)
