"""`realizar lora merge`, `control-vector`, `convert` of adapters, and the options --lora and --control-vector."""

import pytest

from realizar.cli import main
from realizar.cli.adapters import _scaled, with_adapters
from realizar.gguf import GGUFFile
from realizar.model import load
from realizar.params import SamplingParams
from realizar.runtime.adapter_files import open_control_vector
from tests.adapters import write_random_lora
from tests.convert.test_peft import write_folder
from tests.limits.models import LLAMA


@pytest.fixture
def adapter(tmp_path):
    model = load(LLAMA)
    yield write_random_lora(tmp_path / "a.gguf", model, "attn_q.")
    model.close()


def test_merge(adapter, tmp_path, capsys):
    out = tmp_path / "merged.gguf"
    assert main(["lora", "merge", str(LLAMA), str(adapter), str(out), "--scale", "0.5", "-t", "1"]) == 0
    assert "2 weights merged" in capsys.readouterr().out
    with GGUFFile(LLAMA) as base, GGUFFile(out) as merged:
        changed = {name for name in base.tensors if (base.data(name) != merged.data(name)).any()}
        assert changed == {"blk.0.attn_q.weight", "blk.1.attn_q.weight"}
        assert [info.type for info in merged.tensors.values()] == [info.type for info in base.tensors.values()]
        assert list(merged.metadata) == list(base.metadata)
        assert all(merged.metadata.encoded(key) == base.metadata.encoded(key) for key in base.metadata)
    assert main(["lora", "merge", str(LLAMA), str(adapter), str(LLAMA)]) == 2
    assert main(["lora", "merge", str(LLAMA), str(adapter), str(adapter)]) == 2
    assert capsys.readouterr().err.count("is a file that is read") == 2


def test_convert(tmp_path, capsys):
    folder, out = write_folder(tmp_path / "peft"), tmp_path / "a.gguf"
    assert main(["convert", str(folder), str(out), "--target", str(LLAMA)]) == 0
    assert "adapter of 1 weights" in capsys.readouterr().out
    assert main(["convert", str(folder), str(out)]) == 2
    assert "--target" in capsys.readouterr().err


def test_control_vector(tmp_path, capsys):
    for name, words in (("good", ["a b", "b c", "c a"]), ("bad", ["x y", "y z", "z x"])):
        (tmp_path / name).write_text("\n".join(words) + "\n")
    out = tmp_path / "v.gguf"
    words = ["control-vector", str(LLAMA), str(tmp_path / "good"), str(tmp_path / "bad"), str(out)]
    assert main(words) == 0
    assert "1 layers, 3 pairs" in capsys.readouterr().out
    assert list(open_control_vector(out, "llama").factors) == ["direction.1"]
    (tmp_path / "bad").write_text("x\n")
    assert main(words) == 2
    assert "3 and 1" in capsys.readouterr().err
    assert main([*words[:4], str(tmp_path)]) == 2
    assert "is a folder" in capsys.readouterr().err
    words[3] = words[2]
    assert main(words) == 2
    assert "do not differ" in capsys.readouterr().err


def test_options_of_run_and_chat():
    class Fake:
        def __init__(self):
            self.added = []

        def add_lora(self, name, path):
            self.added.append(("lora", name, path))

        def add_control_vector(self, name, path):
            self.added.append(("vector", name, path))

    llm = Fake()
    found = with_adapters(llm, SamplingParams(), ["a.gguf", "b.gguf=0.5"], ["v.gguf=-2"])
    assert found.lora == (("a.gguf", 1.0), ("b.gguf", 0.5))
    assert found.control_vector == (("v.gguf", -2.0, None),)
    assert llm.added == [("lora", "a.gguf", "a.gguf"), ("lora", "b.gguf", "b.gguf"), ("vector", "v.gguf", "v.gguf")]


def test_a_path_with_an_equals_sign(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "r=16.gguf").touch()
    assert _scaled("--lora", "r=16.gguf") == ("r=16.gguf", 1.0)
    assert _scaled("--lora", "r=16.gguf=0.5") == ("r=16.gguf", 0.5)


@pytest.mark.parametrize("given", ["a.gguf=x", "", "=0.5"])
@pytest.mark.parametrize("option", ["--lora", "--control-vector"])
def test_an_option_with_a_wrong_scale_or_no_path(option, given, capsys):
    assert main(["run", str(LLAMA), "a", option, given]) == 2
    assert "PATH=SCALE" in capsys.readouterr().err


def test_a_path_that_is_given_twice(capsys):
    """The last scale would win silently, where llama.cpp adds both."""
    assert main(["run", str(LLAMA), "a", "--lora", "a.gguf=0.5", "--lora", "a.gguf=2"]) == 2
    assert "a.gguf is given twice" in capsys.readouterr().err
