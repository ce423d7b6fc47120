"""hf: names, with a fake huggingface-hub."""

import errno
import sys
from pathlib import Path
from types import ModuleType

import pytest

from realizar.errors import DownloadError, ModelNotFoundError
from realizar.store import hub, pull, resolve, stored_models


class NotFound(Exception):
    """Fake of the hub's error with this meaning."""


class Offline(NotFound):
    """A subclass, as in the hub."""


@pytest.fixture
def fake_hub(monkeypatch, tmp_path):
    """A fake huggingface_hub with the real file layout."""
    monkeypatch.setenv("REALIZAR_CACHE", str(tmp_path))
    module, errors = ModuleType("huggingface_hub"), ModuleType("huggingface_hub.errors")
    errors.EntryNotFoundError = errors.RepositoryNotFoundError = NotFound
    errors.LocalEntryNotFoundError = Offline
    errors.RevisionNotFoundError = type("NoRevision", (NotFound,), {})
    errors.OfflineModeIsEnabled = type("Forbidden", (ConnectionError,), {})
    module.errors, module.asked, module.fails = errors, [], None

    def hf_hub_download(repo, file, revision, cache_dir):
        module.asked.append(file)
        if module.fails:
            raise module.fails
        path = cache_dir / f"models--{repo.replace('/', '--')}" / "snapshots" / "abc" / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"GGUF")
        return str(path)

    module.hf_hub_download = hf_hub_download
    monkeypatch.setitem(sys.modules, "huggingface_hub", module)
    monkeypatch.setitem(sys.modules, "huggingface_hub.errors", errors)
    return module


def test_file_is_downloaded_once(fake_hub):
    path = resolve("hf:owner/repo/model.gguf")
    assert path.read_bytes() == b"GGUF"
    assert resolve("hf:owner/repo/model.gguf") == path
    assert fake_hub.asked == ["model.gguf"]
    assert ("hf:owner/repo/model.gguf", path) in [(m.name, m.path) for m in stored_models()]


def test_all_parts_of_a_split_model(fake_hub):
    path = pull("hf:owner/repo/q4/m-00001-of-00003.gguf")
    assert path.name == "m-00001-of-00003.gguf"
    assert fake_hub.asked == [f"q4/m-0000{i}-of-00003.gguf" for i in (1, 2, 3)]
    (path.parent / "m-00002-of-00003.gguf").unlink()
    assert hub.cached("hf:owner/repo/q4/m-00001-of-00003.gguf") is None


@pytest.mark.parametrize("name", ["hf:", "hf:owner", "hf:owner/repo/readme.md", "hf://x.gguf", "hf:owner/repo@"])
def test_malformed_names(name, fake_hub):
    with pytest.raises(ModelNotFoundError, match="hf:owner/repo:QUANTIZATION or hf:owner/repo/file"):
        resolve(name)


def test_errors_of_the_hub(fake_hub):
    for error, ours, text in [
        (NotFound("404"), ModelNotFoundError, "no such file"),
        (Offline("no network"), DownloadError, "cannot be reached"),
        (ConnectionError("reset\nby peer"), DownloadError, r"reset\)"),
    ]:
        fake_hub.fails = error
        with pytest.raises(ours, match=text):
            resolve("hf:owner/repo/model.gguf")


@pytest.mark.parametrize(
    ("number", "says"),
    [
        (errno.ENOSPC, "the disk is full"),
        (errno.EROFS, "read-only"),
        (errno.EACCES, "no write permission"),
        (errno.EIO, "download failed"),
    ],
)
def test_read_only_cache(number, says, fake_hub):
    fake_hub.fails = OSError(number, "what the system says")
    with pytest.raises(DownloadError, match=says):
        pull("hf:owner/repo/model.gguf")
    fake_hub.fails = None
    path = pull("hf:owner/repo/model.gguf")
    fake_hub.fails = PermissionError(errno.EACCES, "what the system says")
    assert pull("hf:owner/repo/model.gguf") == path


def test_unreadable_cache(fake_hub, tmp_path, monkeypatch):
    """Permissions are simulated, because root can read everything."""

    def refuse(path, *args, **kwargs):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    path = pull("hf:owner/repo/model.gguf")
    for name in ("stat", "glob"):
        monkeypatch.setattr(Path, name, refuse)
    assert {m.path for m in stored_models()} == {None}
    assert hub.cached("hf:owner/repo/model.gguf") is None
    monkeypatch.undo()
    assert path.is_file()


def test_broken_cache_entries_are_not_listed(fake_hub):
    path = pull("hf:owner/repo/model.gguf")
    path.unlink()
    path.symlink_to(path.with_name("gone"))
    assert [m.name for m in stored_models() if m.name.startswith("hf:")] == []


def test_without_huggingface_hub(monkeypatch, tmp_path):
    monkeypatch.setenv("REALIZAR_CACHE", str(tmp_path))
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(DownloadError, match=r"pip install 'realizar\[hub\]'"):
        resolve("hf:owner/repo/model.gguf")
