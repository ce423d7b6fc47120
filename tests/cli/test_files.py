"""`inspect`, `tokenize` and `plugins` on the committed fixtures."""

import json
import os
import subprocess
import sys

import pytest

from realizar.arch import registry
from realizar.arch.registry import Registry
from realizar.gguf.types import ValueType
from tests.limits.models import rewritten
from tests.parity.cases import FIXTURES

LLAMA = FIXTURES / "llama/model-q4_1.gguf"


def test_inspect_shows_metadata_and_sizes(realizar):
    status, out, err = realizar("inspect", str(LLAMA))
    assert (status, err) == (0, "")
    assert f"{LLAMA}: GGUF v3, llama, " in out
    assert "  general.architecture = 'llama'" in out
    types = {line.split()[0]: line.split()[1:] for line in out.splitlines() if line[:2] in ("Q4", "F3", "al")}
    assert {"Q4_1", "F32", "all"} <= set(types)
    assert types["Q4_1"][-1] == "5.000"
    assert sum(int(row[0]) for name, row in types.items() if name != "all") <= int(types["all"][0])


def test_inspect_json_has_every_tensor(realizar):
    status, out, _ = realizar("inspect", str(LLAMA), "--json")
    found = json.loads(out)
    assert status == 0
    assert found["architecture"] == "llama"
    assert {"name", "type", "shape", "n_bytes"} <= set(found["tensors"][0])


def test_inspect_shows_sampling_defaults_of_the_file(realizar, tmp_path):
    changes = {"general.sampling.temp": (0.6, ValueType.FLOAT32), "general.sampling.sequence": "top_k;temp"}
    path = rewritten(LLAMA, tmp_path / "model.gguf", changes)
    lines = realizar("inspect", str(path))[1].splitlines()
    at = lines.index("defaults of SamplingParams")
    assert lines[at + 1 : at + 3] == ["  temperature = 0.6", "  samplers = top_k, temperature, mirostat"]
    found = json.loads(realizar("inspect", str(path), "--json")[1])["sampling"]
    assert found["temperature"] == pytest.approx(0.6)
    assert found["samplers"] == ["top_k", "temperature", "mirostat"]
    assert "defaults of SamplingParams" not in realizar("inspect", str(LLAMA))[1]


def test_inspect_of_another_file_type(realizar, tmp_path):
    path = tmp_path / "x.gguf"
    path.write_bytes(b"GGUF but not really")
    status, out, err = realizar("inspect", str(path))
    assert (status, out) == (1, "")
    assert err.startswith("error: x.gguf")
    assert err.count("\n") == 1


def test_tokenize_prints_ids_and_bytes(realizar):
    status, out, err = realizar("tokenize", "Hello", "-m", str(LLAMA))
    assert (status, err) == (0, "")
    rows = [line.split("\t") for line in out.splitlines()]
    assert b"".join(eval(text) for _, text in rows).strip().endswith(b"Hello")
    assert all(int(token) >= 0 for token, _ in rows)


def test_tokenize_options(realizar, typed):
    with_special = realizar("tokenize", "Hello", "-m", str(LLAMA))[1].splitlines()
    typed("Hello")
    without = realizar("tokenize", "-", "-m", str(LLAMA), "--no-add-special")[1].splitlines()
    assert with_special[-len(without) :] == without


def test_plugins_lists_architectures(realizar):
    status, out, err = realizar("plugins")
    assert (status, err) == (0, "")
    assert "architecture smollm3  from llama  parity: smollm3\n" in out
    assert "architecture jina-bert-v2  from bert  conformance only\n" in out
    assert "op rescale  from gemma3n\n" in out


def test_plugins_lists_broken_plugins(realizar, monkeypatch):
    broken = Registry(broken={"bad": "ImportError: nothing there"})
    monkeypatch.setattr(registry, "default", lambda: broken)
    assert realizar("plugins") == (0, "plugin bad  BROKEN: ImportError: nothing there\n", "")


@pytest.mark.parametrize("words", [["plugins"], ["inspect", str(LLAMA)]])
def test_restricting_plugins_to_one_that_is_missing(words):
    code = f"import sys; from realizar.cli import main; sys.exit(main({words}))"
    environ = {**os.environ, "REALIZAR_PLUGINS": "nope"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environ)
    assert done.returncode == (1 if words == ["plugins"] else 0)
    assert ("REALIZAR_PLUGINS" in done.stderr) == (words == ["plugins"])
