"""`realizar quantize`: what it prints, and wrong usage."""

import numpy as np

from realizar.gguf import GGUFFile
from realizar.quality import sample_text
from realizar.quants import dequantize
from tests.parity.cases import FIXTURES

LLAMA = FIXTURES / "llama/model-q4_1.gguf"


def test_quantize(realizar, tmp_path):
    out_path = tmp_path / "out.gguf"
    words = ("quantize", str(LLAMA), str(out_path), "q5_k_m", "--tensor", "ffn_up=Q8_0", "-t", "2")
    status, out, err = realizar(*words)
    assert status == 0, err
    assert f"{out_path}: Q5_K_M, has " in out
    assert "bits per weight" in out
    assert "were quantized before (Q4_1)" in err
    with GGUFFile(LLAMA) as before, GGUFFile(out_path) as after:
        assert after.tensors["blk.0.ffn_up.weight"].type.name == "Q8_0"
        for name, info in before.tensors.items():
            x = dequantize(before.data(name), info.type.name)
            y = dequantize(after.data(name), after.tensors[name].type.name)
            assert np.abs(x - y).max() <= 0.06 * np.abs(x).max()


def test_a_dry_run_writes_nothing(realizar, tmp_path):
    out_path = tmp_path / "out.gguf"
    status, out, _ = realizar("quantize", str(LLAMA), str(out_path), "Q2_K_S", "--dry-run")
    assert (status, out_path.exists()) == (0, False)
    assert f"{out_path}: Q2_K_S, would have " in out
    assert [line.split()[:2] for line in out.splitlines() if line.startswith("Q4_1")]


def test_what_is_wrong_is_said_in_a_line(realizar, tmp_path):
    out_path = str(tmp_path / "out.gguf")
    for words, status, message in (
        (["Q4_KM"], 2, "did you mean Q4_K_M"),
        (["Q4_K_M", "--tensor", "ffn_up"], 2, "must be PATTERN=TYPE"),
        (["Q4_K_M", "--tensor", "ffn_up=Q4_K_M"], 2, "did you mean Q4_K"),
        (["Q4_K_M", "--tensor", "ffm_up=Q4_K"], 2, "no tensor's name fits"),
        (["Q4_K_M", "-t", "0"], 2, "--threads"),
        (["Q2_K_S"], 2, "needs an importance matrix"),
        (["Q4_K_M", "--imatrix", str(tmp_path / "none")], 1, "no such file"),
        (["Q4_K_M", "--imatrix", str(LLAMA)], 1, "is not an importance matrix"),
    ):
        found, _, err = realizar("quantize", str(LLAMA), out_path, *words)
        assert (found, err.count("\n")) == (status, 1), (words, err)
        assert message in err
    assert list(tmp_path.iterdir()) == []


def test_a_budget(realizar, tmp_path):
    out_path, text = tmp_path / "out.gguf", tmp_path / "text.txt"
    text.write_text(sample_text()[:1500])
    words = ("quantize", str(LLAMA), str(out_path), "--budget", "4.5bpw", "--text", str(text))
    status, out, err = realizar(*words, "--dry-run")
    assert (status, out_path.exists()) == (0, False), err
    table = {line.split()[0]: line.split()[1:] for line in out.splitlines() if line.startswith("blk.")}
    assert table["blk.0.attn_v.weight"][0] == "Q4_1"
    assert float(table["blk.1.ffn_up.weight"][3]) >= 0
    assert f"{out_path}: budget 4.5bpw, would have " in out
    assert "predicted divergence: 0.0" in out
    status, out, err = realizar(*words)
    assert status == 0, err
    with GGUFFile(out_path) as file:
        types = {name: info.type.name for name, info in file.tensors.items()}
    assert {name: row[1] for name, row in table.items()} == {name: types[name] for name in table}


def test_wrong_budgets_are_told_in_a_line(realizar, tmp_path):
    out_path = str(tmp_path / "out.gguf")
    for words, message in (
        ([], "give either a TYPE"),
        (["Q4_0", "--budget", "4bpw"], "give either a TYPE"),
        (["Q4_0", "--text", "a.txt"], "--text is the text that --budget measures with"),
        (["--budget", "4bpw", "--tensor", "ffn_up=Q8_0"], "--tensor goes with a TYPE"),
        (["--budget", "4"], "such as 4.25bpw, 350MB"),
        (["--budget", "4bpw", "--text", "none.txt"], "cannot be read as a text file"),
    ):
        found, _, err = realizar("quantize", str(LLAMA), out_path, *words)
        assert (found, err.count("\n")) == (2, 1), (words, err)
        assert message in err
    assert list(tmp_path.iterdir()) == []


def test_a_budget_is_not_measured_for_a_file_that_cannot_be_written(realizar, tmp_path, monkeypatch):
    monkeypatch.setattr("realizar.quality.budget.measure_sensitivities", None)
    status, _, err = realizar("quantize", str(LLAMA), str(tmp_path / "none" / "out.gguf"), "--budget", "4.5bpw")
    assert status == 2
    assert "none" in err
