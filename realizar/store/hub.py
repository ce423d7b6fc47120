"""Models from the Hugging Face hub, hf:owner/repo/file.gguf, with huggingface-hub (extra [hub])."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from realizar.errors import DownloadError, ModelNotFoundError
from realizar.store.cache import BLOCKED, FORBIDDEN, FULL, cache_dir, cannot_store

if TYPE_CHECKING:
    from types import ModuleType

PREFIX = "hf:"
_SPLIT = re.compile(r"-(\d{5})-of-(\d{5})\.gguf$")


def parse(reference: str) -> tuple[str, str]:
    """Split hf:owner/repo/file.gguf into (owner/repo, file); the file may be in a folder of the repository.

    Raises
    ------
    ModelNotFoundError
        If the reference is malformed.
    """
    owner, _, rest = reference[len(PREFIX) :].partition("/")
    repo, _, file = rest.partition("/")
    if not (owner and repo and file.endswith(".gguf")):
        raise ModelNotFoundError(f"{reference}: must have the form hf:owner/repo/file.gguf")
    return f"{owner}/{repo}", file


def fetch(reference: str) -> Path:
    """Download a file (all parts of a split model) and return its path.

    If the cache folder is read-only, an earlier download is used.

    Raises
    ------
    ModelNotFoundError
        If the hub has no such file, or the repository requires accepting a licence.
    DownloadError
        If huggingface-hub is not installed, the hub cannot be reached, or the file cannot be stored.
    """
    repo, file = parse(reference)
    hub = _huggingface_hub()
    try:
        paths = [hub.hf_hub_download(repo, part, cache_dir=_folder()) for part in _parts(file)]
    except hub.errors.LocalEntryNotFoundError as error:
        raise DownloadError(f"{reference}: the hub cannot be reached and the file is not in the cache") from error
    except (hub.errors.EntryNotFoundError, hub.errors.RepositoryNotFoundError) as error:
        raise ModelNotFoundError(f"{reference}: the hub has no such file, or it requires a login (HF_TOKEN)") from error
    except (hub.errors.HfHubHTTPError, hub.errors.HFValidationError, OSError) as error:
        number = getattr(error, "errno", None)
        if number in FORBIDDEN and (earlier := cached(reference)) is not None:
            return earlier
        if isinstance(error, OSError) and number in (*FULL, *FORBIDDEN, *BLOCKED):
            raise cannot_store(reference, _folder(), error) from error
        raise DownloadError(
            f"{reference}: download failed ({next(iter(str(error).splitlines()), type(error).__name__)}); try again"
        ) from error
    return Path(paths[0])


def cached(reference: str) -> Path | None:
    """Return the file if it is completely in the cache; needs neither network nor huggingface-hub."""
    repo, file = parse(reference)
    for snapshot in _snapshots(f"models--{repo.replace('/', '--')}"):
        if all((snapshot / part).is_file() for part in _parts(file)):
            return snapshot / file
    return None


def fetched() -> list[tuple[str, Path]]:
    """Return names and paths of all models downloaded from the hub."""
    rows = []
    for snapshot in _snapshots("models--*"):
        owner, _, repo = snapshot.parents[1].name[len("models--") :].partition("--")
        for path in sorted(path for path in snapshot.rglob("*.gguf") if path.is_file()):
            rows.append((f"{PREFIX}{owner}/{repo}/{path.relative_to(snapshot).as_posix()}", path))
    return rows


def _snapshots(models: str) -> list[Path]:
    try:
        return sorted(_folder().glob(f"{models}/snapshots/*"))
    except PermissionError:  # no permission for the folder
        return []


def _folder() -> Path:
    return cache_dir() / "hub"


def _parts(file: str) -> list[str]:
    match = _SPLIT.search(file)
    if match is None:
        return [file]
    stem, n = file[: match.start()], int(match[2])
    return [f"{stem}-{i:05}-of-{n:05}.gguf" for i in range(1, n + 1)]


def _huggingface_hub() -> ModuleType:
    try:
        import huggingface_hub
        import huggingface_hub.errors
    except ImportError:
        raise DownloadError("hf: names require huggingface-hub; install it with: pip install 'realizar[hub]'") from None
    module: ModuleType = huggingface_hub
    return module
