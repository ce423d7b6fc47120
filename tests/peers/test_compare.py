"""asv_bench/compare.py on a tiny model: each kind of phase in both programs, and the roofline plot."""

import json
import subprocess
import sys

import pytest

from tests.limits.models import LLAMA
from tests.meta.house import ROOT
from tests.parity.cases import WHOLE_SET

pytest.importorskip("llama_cpp", reason="llama-cpp-python is not installed (extra: peers)")
pytest.importorskip("matplotlib", reason="matplotlib is not installed (extra: bench)")


def compare(*arguments, model=LLAMA):
    command = [sys.executable, str(ROOT / "asv_bench/compare.py"), str(model), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_phases_and_picture(tmp_path):
    picture = tmp_path / "roof.png"
    sizes = ("-t", "1", "-p", "20", "-n", "2", "-r", "2", "--depth", "0", "32", "--batch", "1", "3", "--isa", "scalar")
    done = compare(*sizes, "--json", "--roofline", str(picture))
    assert done.returncode == 0, done.stderr
    (model,) = json.loads(done.stdout)
    assert [result["phase"] for result in model["phases"]] == [
        "prefill(20)", "prefill(20) @ 32", "decode(2)", "decode(2) x 3", "decode(2) @ 32", "decode(2) @ 32 x 3",
    ]  # fmt: skip
    for result in model["phases"]:
        assert all(len(speeds) == 2 and min(speeds) > 0 for speeds in result["tok_s"].values())
        assert len(result["ratios"]["llama.cpp"]["pairs"]) == 2
        assert result["share"] > 0  # no tighter bound: the machine may be busy
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_table():
    done = compare("-t", "1", "-p", "0", "-n", "2", "-r", "1")
    assert done.returncode == 0, done.stderr
    assert "llama.cpp" in done.stdout
    assert "decode(2)" in done.stdout
    assert "prefill" not in done.stdout


def test_encoders():
    model = WHOLE_SET / "bert" / "model-q8_0.gguf"
    if not model.is_file():
        pytest.skip(f"{model} is not there")
    done = compare("-t", "1", "--encode", "40", "--batch", "1", "20", "-r", "1", model=model)
    assert done.returncode == 0, done.stderr
    assert "encode(40) x 20" in done.stdout
    assert "decode" not in done.stdout


def test_errors():
    for arguments in (("--depth", "5"), ("-p", "0", "-n", "0"), ("--batch", "0"), ("--encode", "600")):
        assert "error:" in compare(*arguments).stderr
