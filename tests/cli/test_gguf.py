"""`realizar gguf` on a committed fixture; what it does with files is tested in tests/gguf."""

import shutil

import pytest

from realizar.gguf import GGUFFile
from tests.limits.models import LLAMA


@pytest.fixture
def model(tmp_path):
    """A copy of the fixture."""
    return shutil.copyfile(LLAMA, tmp_path / "model.gguf")


def test_split_and_merge(realizar, model, tmp_path):
    status, out, _ = realizar("gguf", "split", str(model), str(tmp_path / "part"), "--max-tensors", "5")
    parts = sorted(tmp_path.glob("part-*.gguf"))
    assert status == 0
    assert [line.partition(": ")[0] for line in out.splitlines()] == [str(path) for path in parts]
    status, out, _ = realizar("gguf", "merge", str(parts[0]), str(tmp_path / "merged.gguf"))
    assert (status, out) == (0, f"{tmp_path / 'merged.gguf'}: {model.stat().st_size / 1e6:.1f} MB\n")
    assert realizar("gguf", "diff", str(model), str(tmp_path / "merged.gguf")) == (0, "", "")
    realizar("gguf", "split", str(model), str(tmp_path / "whole"))  # 128 tensors in a part
    assert (tmp_path / "whole-00001-of-00001.gguf").exists()
    realizar("gguf", "split", str(model), str(tmp_path / "large"), "--max-size", "1M")
    assert (tmp_path / "large-00001-of-00001.gguf").exists()


def test_set_and_diff(realizar, model):
    status, out, _ = realizar("gguf", "set", str(model), "llama.context_length", "1024")
    assert (status, out) == (0, "llama.context_length = 1024\n")
    status, out, _ = realizar("gguf", "diff", str(LLAMA), str(model))
    assert (status, out) == (1, "- llama.context_length = 512\n+ llama.context_length = 1024\n")
    status, _, err = realizar("gguf", "diff", str(model), str(model.with_name("absent.gguf")))
    assert (status, "absent.gguf" in err) == (2, True)
    status, _, err = realizar("gguf", "set", str(model), "llama.context_length", "long")
    assert (status, err) == (2, "error: Invalid value: llama.context_length: 'long' is not a UINT32; see --help\n")


def test_hash(realizar, model):
    status, out, _ = realizar("gguf", "hash", str(model))
    lines = [line.split() for line in out.splitlines()]
    with GGUFFile(model) as file:
        assert [line[2] for line in lines] == [*(f"{model}:{name}" for name in file.tensors), str(model)]
    assert status == 0
    assert {line[0] for line in lines} == {"sha256"}
    assert realizar("gguf", "hash", str(model), "--no-layer")[1] == out.splitlines(keepends=True)[-1]


def test_no_command_and_wrong_sizes(realizar, model):
    assert realizar("gguf")[0] == 2
    status, _, err = realizar("gguf", "split", str(model), "part", "--max-size", "4K")
    assert status == 2
    assert "'4K' is no size; write 500M or 4G" in err
