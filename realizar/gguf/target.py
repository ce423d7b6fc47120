"""Checks of a path that a GGUF file will be written to, before the work for it begins."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from pathlib import Path

from realizar.errors import ParameterError, short_repr


def check_target(path: str | os.PathLike[str], sources: Iterable[str | os.PathLike[str]] = ()) -> None:
    """Raise ParameterError if no file can be written to a path, or if it would replace one that is read.

    Parameters
    ----------
    path : str | os.PathLike
    sources : iterable of str | os.PathLike
        Files that are read while the new one is made, all parts of a split model.
    """
    target, shown = Path(path), short_repr(os.fspath(path))
    if not target.name or target.name == "..":
        raise ParameterError(f"output {shown}: is no name of a file; give one, such as model.gguf")
    if not target.parent.is_dir():
        raise ParameterError(f"output {shown}: there is no folder {short_repr(str(target.parent))}; create it")
    try:
        mode = os.stat(target).st_mode
    except FileNotFoundError:
        mode = None
    if mode is not None and not stat.S_ISREG(mode):
        kind = "a folder" if stat.S_ISDIR(mode) else "a device, pipe or socket"
        raise ParameterError(f"output {shown}: is {kind}; give the path of a file")
    if mode is not None and any(os.path.exists(source) and os.path.samefile(target, source) for source in sources):
        raise ParameterError(f"output {shown}: is a file that is read; give another name")
    if not os.access(target.parent, os.W_OK):
        raise ParameterError(f"output {shown}: the folder cannot be written to; choose another one")
