"""The cache folder: its location and locking."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from realizar.errors import DownloadError

CHUNK = 1 << 20  # bytes read at a time
FULL = {errno.ENOSPC: "the disk is full", errno.EDQUOT: "your disk quota is used up"}
FORBIDDEN = {
    errno.EROFS: "it is read-only",
    errno.EACCES: "no write permission",
    errno.EPERM: "no write permission",
}
BLOCKED = {errno.EEXIST: "a file", errno.ENOTDIR: "a file", errno.EISDIR: "a folder"}


def cache_dir() -> Path:
    """Return the cache folder: REALIZAR_CACHE, or the user's cache folder for realizar.

    Raises
    ------
    DownloadError
        If REALIZAR_CACHE is in the home folder of a user that does not exist.
    """
    if override := os.environ.get("REALIZAR_CACHE"):
        try:
            return Path(override).expanduser()
        except RuntimeError as error:
            raise DownloadError(f"REALIZAR_CACHE={override}: {error}; set it to another folder") from None
    from platformdirs import user_cache_path

    return user_cache_path("realizar", appauthor=False)


def has_size(path: Path, n_bytes: int) -> bool:
    """Whether a file exists and has this size."""
    try:
        return path.is_file() and path.stat().st_size == n_bytes
    except OSError:  # no permission for the folder
        return False


def sha256_of(path: Path) -> str:
    """Return the sha256 of a file in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def cannot_store(name: str, folder: Path, error: OSError) -> DownloadError:
    """Return the error for a model that cannot be stored in the cache folder, with reason and remedy."""
    remedy = "set REALIZAR_CACHE to another folder"
    if error.errno in FULL:
        reason, remedy = f"{FULL[error.errno]}{_room(folder)}", f"free some space, or {remedy}"
    elif error.errno in FORBIDDEN:
        reason = FORBIDDEN[error.errno]
    elif error.errno in BLOCKED:
        path, other = error.filename2 or error.filename, "file" if error.errno == errno.EISDIR else "folder"
        reason = f"{path} is {BLOCKED[error.errno]}, but must be a {other}"
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
def locked(path: Path) -> Iterator[None]:
    """Hold a lock file; the operating system releases it when the process ends."""
    with path.open("ab") as stream:
        if not try_lock(stream):
            print(f"waiting for another process that holds the lock {path}", file=sys.stderr)
            _wait_lock(stream)
        yield


if sys.platform == "win32":
    import msvcrt
    import time

    def try_lock(stream: BinaryIO) -> bool:
        """Lock an open file until it is closed; return False if another process has locked it."""
        try:
            msvcrt.locking(stream.fileno(), msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

    def _wait_lock(stream: BinaryIO) -> None:
        while not try_lock(stream):
            time.sleep(0.2)

else:
    import fcntl

    def try_lock(stream: BinaryIO) -> bool:
        """Lock an open file until it is closed; return False if another process has locked it."""
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _wait_lock(stream: BinaryIO) -> None:
        fcntl.flock(stream, fcntl.LOCK_EX)
