"""Parity cases are made the same way again, and are small."""

import json

import numpy as np
import pytest

from tests.parity import cases


def test_cases_are_small_and_complete():
    folders = sorted(path for path in cases.OWN_SET.iterdir() if path.is_dir())
    assert [path.name for path in folders] == sorted(row["case"] for row in cases.own_set())
    for folder in folders:
        assert sum(file.stat().st_size for file in folder.iterdir()) <= 100_000, folder.name
        assert json.loads((folder / "meta.json").read_text())["sensitivity"] >= 0.04, folder.name


@pytest.mark.parametrize("name", ["deepseek", pytest.param("llama_embed", marks=pytest.mark.slow)])
def test_a_case_is_made_again(name, tmp_path, monkeypatch):
    """The same weights, and the same results up to the order of sums."""
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    from tests.tools import make_parity_case

    monkeypatch.setattr(make_parity_case, "TARGET", tmp_path)
    make_parity_case.make(name, seed=0)
    made, kept = tmp_path / name, cases.OWN_SET / name
    assert (made / "model-q8_0.gguf").read_bytes() == (kept / "model-q8_0.gguf").read_bytes()
    found, want = np.load(made / "golden.npz"), np.load(kept / "golden.npz")
    assert sorted(found) == sorted(want)
    for key in want:
        rounded = key.endswith("q8_0")
        np.testing.assert_allclose(found[key], want[key], atol=0.05 if rounded else 1e-4, err_msg=key)
