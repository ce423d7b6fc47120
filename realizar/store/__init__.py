"""The model store: resolves a name, a path or a reference to the Hugging Face hub to a verified local file."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from realizar.errors import ModelNotFoundError, ParameterError, did_you_mean, short_repr
from realizar.store import hub
from realizar.store.cache import cache_dir, has_size
from realizar.store.hub_names import PREFIX
from realizar.store.models import DEFAULT_MODEL, MODELS, KnownModel
from realizar.store.pull import pull_known

__all__ = ["DEFAULT_MODEL", "MODELS", "KnownModel", "StoredModel", "cache_dir", "pull", "resolve", "stored_models"]


@dataclass(frozen=True)
class StoredModel:
    """One row of `realizar list`; `path` is None if the model is not downloaded."""

    name: str
    about: str
    licence: str
    n_bytes: int
    path: Path | None


def pull(name: str) -> Path:
    """Download a model unless a verified copy is in the cache; progress is shown on standard error.

    Parameters
    ----------
    name : str
        A known name (`realizar list`), hf:owner/repo:QUANTIZATION, or hf:owner/repo/file.gguf; after repo, @revision
        may name a branch, tag or commit.

    Returns
    -------
    Path
        The file in the cache folder, verified by sha256 (known names) or by huggingface-hub (hf:).

    Raises
    ------
    ModelNotFoundError
        If the name is unknown.
    DownloadError
        If the download fails or the hash is wrong; no partial file remains.
    """
    if name.startswith(PREFIX):
        return hub.fetch(name)
    if name in MODELS:
        return pull_known(MODELS[name])
    raise ModelNotFoundError(f"{name}: unknown model; known are {_names()}{_meant(name)}")


def resolve(name: str | os.PathLike[str]) -> Path:
    """Return the path of a model; a known model that is not in the cache is downloaded.

    Parameters
    ----------
    name : str or PathLike
        A name as for `pull`, or the path of a file.

    Raises
    ------
    ModelNotFoundError
        If the model does not exist.
    DownloadError
        See `pull`.
    """
    if isinstance(name, str):
        if name in MODELS:
            path = cache_dir() / MODELS[name].file
            return path if has_size(path, MODELS[name].n_bytes) else pull_known(MODELS[name])
        if name.startswith(PREFIX):
            return hub.cached(name) or hub.fetch(name)
    if not isinstance(name, (str, os.PathLike)):
        raise ParameterError(f"a model must be a name or a path, found {short_repr(name)}; known are {_names()}")
    try:
        path = Path(name).expanduser()
        if path.is_file():
            return path
        found = "a folder" if path.is_dir() else "neither a file nor a known name"
    except (OSError, RuntimeError, ValueError) as error:  # name too long, no permission, unknown user in ~user
        found = f"an inaccessible path ({error})"
    printable = str(name) if str(name).isprintable() else short_repr(str(name))
    raise ModelNotFoundError(
        f"{printable}: is {found}; use the path of a .gguf file or one of {_names()}{_meant(printable)}"
    )


def stored_models() -> list[StoredModel]:
    """Return all known models, then those downloaded from the hub."""
    rows = []
    for model in MODELS.values():
        path = cache_dir() / model.file
        here = path if has_size(path, model.n_bytes) else None
        rows.append(StoredModel(model.name, model.about, model.licence, model.n_bytes, here))
    for name, path in hub.fetched():
        rows.append(StoredModel(name, "from the Hugging Face hub", "see its page", path.stat().st_size, path))
    return rows


def _names() -> str:
    return ", ".join([*MODELS, "hf:owner/repo:QUANTIZATION", "hf:owner/repo/file.gguf"])


def _meant(name: str) -> str:
    """Return "; did you mean X?" for a name like a known one, or like that of a file in the same folder."""
    folder, last = os.path.split(name)
    try:
        beside = [path.name for path in Path(folder or ".").expanduser().glob("*.gguf")]
    except (OSError, RuntimeError, ValueError):  # as for the path itself
        beside = []
    return did_you_mean(last, beside) or did_you_mean(name, [*MODELS, *(stored for stored, _ in hub.fetched())])


def portable(model: object) -> object:
    """Return a model's name unchanged, and the path of a file as an absolute path, for another process to load."""
    if isinstance(model, str) and (model in MODELS or model.startswith(PREFIX)):
        return model
    if not isinstance(model, (str, os.PathLike)):
        return model
    try:
        return str(Path(model).expanduser().absolute())
    except (OSError, RuntimeError):  # no home or working directory; opening the file says what is wrong
        return os.fspath(model)
