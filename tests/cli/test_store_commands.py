"""`pull` and `list`."""

from pathlib import Path

from realizar import store
from realizar.store import StoredModel


def test_pull_prints_the_path(realizar, monkeypatch):
    monkeypatch.setattr(store, "pull", lambda name: Path("/cache") / name)
    status, out, err = realizar("pull", "smollm2")
    assert (status, Path(out.strip()), err) == (0, Path("/cache/smollm2"), "")


def test_pull_of_an_unknown_name(realizar):
    status, out, err = realizar("pull", "nope")
    assert (status, out) == (1, "")
    assert "smollm2" in err


def test_list_says_what_is_here(realizar, monkeypatch, tmp_path):
    monkeypatch.setenv("REALIZAR_CACHE", str(tmp_path))
    rows = [
        StoredModel("here", "about this", "MIT", 98_000_000, Path("/x")),
        StoredModel("hf:a/b/c.gguf", "about that", "Apache-2.0", 491_000_000, None),
    ]
    monkeypatch.setattr(store, "stored_models", lambda: rows)
    status, out, err = realizar("list")
    assert (status, err) == (0, "")
    lines = out.splitlines()
    assert lines[1].split() == ["here", "98", "MB", "MIT", "yes", "about", "this"]
    assert lines[2].split() == ["hf:a/b/c.gguf", "491", "MB", "Apache-2.0", "no", "about", "that"]
    assert str(tmp_path) in lines[-1]
