"""Models from the Hugging Face hub, downloaded with huggingface-hub (extra [hub])."""

from __future__ import annotations

from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

from realizar.errors import DownloadError, ModelNotFoundError
from realizar.store.cache import BLOCKED, FORBIDDEN, FULL, cache_dir, cannot_store
from realizar.store.hub_names import PREFIX, Reference, choose, models, parse, parts

if TYPE_CHECKING:
    from types import ModuleType


def fetch(reference: str) -> Path:
    """Download the file that a name names (all parts of a split model), and return its path.

    The token (HF_TOKEN or a login), offline mode (HF_HUB_OFFLINE), the server (HF_ENDPOINT) and the resuming of
    downloads are those of huggingface-hub. If the hub cannot be reached, or the cache folder is read-only, an earlier
    download is used.

    Raises
    ------
    ModelNotFoundError
        If the name is malformed; if the hub has no such file, or several; or the repository requires accepting a
        licence.
    DownloadError
        If huggingface-hub is not installed, the hub cannot be reached, or the file cannot be stored.
    """
    asked = parse(reference)
    hub = _huggingface_hub()
    try:
        found = asked.file or choose(reference, _listing(hub, asked))
        paths = [
            hub.hf_hub_download(asked.repo, part, revision=asked.revision, cache_dir=_folder()) for part in parts(found)
        ]
        return Path(paths[0])
    except ModelNotFoundError:
        raise
    except hub.errors.LocalEntryNotFoundError as error:
        raise DownloadError(f"{reference}: the hub cannot be reached and the file is not in the cache") from error
    except hub.errors.OfflineModeIsEnabled as error:
        if (earlier := cached(reference)) is not None:
            return earlier
        raise DownloadError(f"{reference}: not in the cache, and HF_HUB_OFFLINE forbids asking the hub") from error
    except hub.errors.RevisionNotFoundError as error:
        raise ModelNotFoundError(f"{reference}: the repository has no revision {asked.revision}") from error
    except (hub.errors.EntryNotFoundError, hub.errors.RepositoryNotFoundError) as error:
        raise ModelNotFoundError(f"{reference}: the hub has no such file, or it requires a login (HF_TOKEN)") from error
    except Exception as error:  # also what the HTTP library of huggingface-hub raises
        number = getattr(error, "errno", None)
        is_local = isinstance(error, OSError) and number in (*FULL, *FORBIDDEN, *BLOCKED)
        if (not is_local or number in FORBIDDEN) and (earlier := cached(reference)) is not None:
            return earlier
        if is_local:
            raise cannot_store(reference, _folder(), error) from error  # type: ignore[arg-type]
        raise DownloadError(
            f"{reference}: download failed ({next(iter(str(error).splitlines()), type(error).__name__)}); try again"
        ) from error


def _listing(hub: ModuleType, asked: Reference) -> list[str]:
    """Return the names of the files of a repository."""
    info = hub.HfApi().model_info(asked.repo, revision=asked.revision)
    return [sibling.rfilename for sibling in info.siblings or []]


def matching(repo: str, pattern: str) -> str:
    """Return the name, for `fetch`, of the only model file of a repository that matches a glob.

    Raises
    ------
    ModelNotFoundError
        If none matches, or several; or the hub has no such repository.
    DownloadError
        If huggingface-hub is not installed, or the hub cannot be reached.
    """
    asked = parse(f"{PREFIX}{repo}")
    hub = _huggingface_hub()
    try:
        there = models(_listing(hub, asked))
    except hub.errors.RepositoryNotFoundError as error:
        raise ModelNotFoundError(
            f"{repo}: the hub has no such repository, or it requires a login (HF_TOKEN)"
        ) from error
    except _failures(hub) as error:
        there = models({name for snapshot in _snapshots(asked) for name in _ggufs(snapshot)})
        if not there:
            raise DownloadError(f"{repo}: the hub cannot be reached ({error}), and nothing is in the cache") from error
    found = [file for file in there if fnmatchcase(file, pattern)]
    if len(found) != 1:
        raise ModelNotFoundError(f"{pattern!r} matches {len(found)} model files of {repo}; it has {', '.join(there)}")
    return f"{PREFIX}{asked.repo}/{found[0]}"


def cached(reference: str) -> Path | None:
    """Return the file if it is completely in the cache; needs neither network nor huggingface-hub."""
    asked = parse(reference)
    for snapshot in _snapshots(asked):
        file = asked.file
        if file is None:
            try:
                file = choose(reference, _ggufs(snapshot))
            except ModelNotFoundError:
                continue
        if all((snapshot / part).is_file() for part in parts(file)):
            return snapshot / file
    return None


def fetched() -> list[tuple[str, Path]]:
    """Return names and paths of all models downloaded from the hub."""
    rows = []
    for snapshot in _glob("models--*/snapshots/*"):
        owner, _, repo = snapshot.parents[1].name[len("models--") :].partition("--")
        rows += [(f"{PREFIX}{owner}/{repo}/{name}", snapshot / name) for name in _ggufs(snapshot)]
    return rows


def _ggufs(snapshot: Path) -> list[str]:
    """Return the names of the GGUF files in a folder, as the hub writes them."""
    return sorted(path.relative_to(snapshot).as_posix() for path in snapshot.rglob("*.gguf") if path.is_file())


def _snapshots(asked: Reference) -> list[Path]:
    """Return the folders of a repository in the cache: that of the revision, or all, that of the main branch first."""
    name = f"models--{asked.repo.replace('/', '--')}"
    folder = _folder() / name
    try:
        commit = (folder / "refs" / (asked.revision or "main")).read_text(encoding="utf-8").strip()
    except OSError:  # a commit has no file in refs
        commit = asked.revision or ""
    first = [path for path in _glob(f"{name}/snapshots/*") if path.name == commit]
    others = [] if asked.revision else [path for path in _glob(f"{name}/snapshots/*") if path.name != commit]
    return first + others


def _glob(pattern: str) -> list[Path]:
    try:
        return sorted(_folder().glob(pattern))
    except PermissionError:  # no permission for the folder
        return []


def _folder() -> Path:
    return cache_dir() / "hub"


def _failures(hub: ModuleType) -> tuple[type[Exception], ...]:
    """Return what asking the hub raises where it cannot be reached, or where something else answers in its place.

    Of the HTTP library, which was requests, then httpx, and is httpx2 in huggingface-hub 2, one base class of
    `HfHubHTTPError` is the error of which the others are made.
    """
    return OSError, ValueError, *hub.errors.HfHubHTTPError.__bases__


def _huggingface_hub() -> ModuleType:
    try:
        import huggingface_hub
        import huggingface_hub.errors
    except ImportError:
        raise DownloadError("hf: names require huggingface-hub; install it with: pip install 'realizar[hub]'") from None
    module: ModuleType = huggingface_hub
    return module
