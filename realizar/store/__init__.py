"""The model store: a name, a path or hf:owner/repo/file.gguf becomes a verified file on this machine."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from realizar.errors import ModelNotFoundError, ParameterError, shown
from realizar.store import hub
from realizar.store.cache import cache_dir, has_size
from realizar.store.models import DEFAULT_MODEL, MODELS, KnownModel
from realizar.store.pull import pull_known

__all__ = ["DEFAULT_MODEL", "MODELS", "KnownModel", "StoredModel", "cache_dir", "pull", "resolve", "stored_models"]


@dataclass(frozen=True)
class StoredModel:
    """One row of `realizar list`: what it is called, where it comes from, and its file if it has been fetched."""

    name: str
    about: str
    licence: str
    n_bytes: int
    path: Path | None


def pull(name: str) -> Path:
    """Fetch a model unless a verified copy is in the cache; progress goes to standard error.

    Parameters
    ----------
    name : str
        A name of the table (`realizar list`) or hf:owner/repo/file.gguf.

    Returns
    -------
    Path
        The file in the cache folder. Its sha256 has been checked (names), or the hub's own check has (hf:).

    Raises
    ------
    ModelNotFoundError
        If the name is neither.
    DownloadError
        If it cannot be fetched, or is not what the table says. Nothing half-written is left behind.
    """
    if name.startswith(hub.PREFIX):
        return hub.fetch(name)
    if name in MODELS:
        return pull_known(MODELS[name])
    raise ModelNotFoundError(f"{name}: no model has this name; there are {_names()}")


def resolve(name: str | os.PathLike[str]) -> Path:
    """Say where a model's file is; one that is known but not here yet is fetched first.

    Parameters
    ----------
    name : str or PathLike
        A name of the table, hf:owner/repo/file.gguf, or the path of a file.

    Raises
    ------
    ModelNotFoundError
        If it is none of them.
    DownloadError
        See `pull`.
    """
    if isinstance(name, str):
        if name in MODELS:
            path = cache_dir() / MODELS[name].file
            return path if has_size(path, MODELS[name].n_bytes) else pull_known(MODELS[name])
        if name.startswith(hub.PREFIX):
            return hub.cached(name) or hub.fetch(name)
    if not isinstance(name, (str, os.PathLike)):
        raise ParameterError(f"a model is a name or a path, not {shown(name)}; there are {_names()}")
    try:
        path = Path(name).expanduser()
        if path.is_file():
            return path
        found = "a folder" if path.is_dir() else "neither a file nor a known name"
    except (OSError, RuntimeError, ValueError) as error:  # too long, not ours to look at, nobody's home
        found = f"no path that can be followed ({error})"
    asked = str(name) if str(name).isprintable() else shown(str(name))
    raise ModelNotFoundError(f"{asked}: is {found}; name a .gguf file or one of {_names()}")


def stored_models() -> list[StoredModel]:
    """All known models, then those fetched from the hub."""
    rows = []
    for model in MODELS.values():
        path = cache_dir() / model.file
        here = path if has_size(path, model.n_bytes) else None
        rows.append(StoredModel(model.name, model.about, model.licence, model.n_bytes, here))
    for name, path in hub.fetched():
        rows.append(StoredModel(name, "from the Hugging Face hub", "see its page", path.stat().st_size, path))
    return rows


def _names() -> str:
    return ", ".join([*MODELS, "hf:owner/repo/file.gguf"])
