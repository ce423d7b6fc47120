"""Files that appear when they are whole: written under temporary names next to their targets, then renamed."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


@contextmanager
def atomic_write(target: Path) -> Iterator[BinaryIO]:
    """Open a temporary file next to `target`; it replaces `target` on success and is deleted on an exception.

    A symbolic link is followed, and the permissions of a replaced file are kept.

    Raises
    ------
    OSError
        Also if `target` is a folder, or a device or pipe, which the file would replace.
    """
    if target.exists() and not (target.is_file() or target.is_dir()):
        raise OSError(errno.EEXIST, "exists, and is not a regular file", str(target))
    with atomic_files([target]) as (temporary,), open(temporary, "xb") as stream:
        yield stream
        sync(stream)


@contextmanager
def atomic_files(targets: Sequence[Path]) -> Iterator[list[Path]]:
    """Yield a temporary path next to each target; the files written there replace the targets on success.

    Of several files the first is the one that readers open, as of a split model: its old version is removed before
    others are replaced, and the new one comes last. So whatever interrupts this, old and new files are never read
    together. On an exception, which SIGTERM is in the program `realizar`, the temporary files are deleted.
    """
    paths = [target.resolve() for target in targets]
    temporaries = [path.with_name(f".{path.name}.{secrets.token_hex(4)}.part") for path in paths]
    try:
        yield temporaries
        for path, temporary in zip(paths, temporaries, strict=True):
            if path.exists():
                shutil.copymode(path, temporary)
        if len(paths) > 1:
            paths[0].unlink(missing_ok=True)
        for path, temporary in zip(reversed(paths), reversed(temporaries), strict=True):
            os.replace(temporary, path)
    finally:
        for temporary in temporaries:
            temporary.unlink(missing_ok=True)


def sync(stream: BinaryIO) -> None:
    """Write what a file buffers to the disk."""
    stream.flush()
    os.fsync(stream.fileno())


def remove_leftovers(target: Path) -> None:
    """Remove temporary files of `target` left by killed processes; call with the lock held."""
    for leftover in target.parent.glob(f".{target.name}.*.part"):
        leftover.unlink(missing_ok=True)
