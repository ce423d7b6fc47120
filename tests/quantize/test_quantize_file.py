"""Whole files: contents, errors, atomic output, folders, importance matrices."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from realizar._kernels.plan import Pool
from realizar._kernels.quantize import quantize
from realizar.errors import GGUFError, ModelNotFoundError, ParameterError, TensorError
from realizar.gguf import GGMLType, GGUFFile, GGUFWriter, ValueType
from realizar.quantize import quantize_file
from realizar.quants import dequantize
from tests.gguf.test_imatrix import write_imatrix

Floats = npt.NDArray[np.float32]


def values(*shape: int, seed: int = 0) -> Floats:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def write_model(path: Path, tensors: dict[str, Floats], **more: Any) -> Path:
    writer = GGUFWriter(path)
    writer.add("general.architecture", "llama")
    writer.add("general.alignment", 64)
    writer.add("general.file_type", 0)
    writer.add("llama.block_count", 1)
    writer.add("llama.rope.freq_base", 1e4, ValueType.FLOAT64)
    writer.add("tokenizer.ggml.tokens", ["a", "é", ""])
    writer.add("tokenizer.ggml.scores", np.array([0.1, 0.2, 0.3], np.float32))
    for name, array in tensors.items():
        writer.add_tensor(name, array.view(np.uint8), array.shape, GGMLType.F32)
    writer.write()
    return path


@pytest.fixture
def model(tmp_path: Path) -> Path:
    tensors = {
        "token_embd.weight": values(12, 256),
        "output.weight": values(12, 256, seed=1),
        "blk.0.ffn_up.weight": values(20, 256, seed=2),
        "blk.0.ffn_up_exps.weight": values(3, 20, 256, seed=3),
        "blk.0.ffn_down.weight": values(4, 96, seed=4),
        "blk.0.ffn_norm.weight": values(256, seed=5),
    }
    return write_model(tmp_path / "model.gguf", tensors)


def stored(path: Path, name: str) -> npt.NDArray[np.uint8]:
    with GGUFFile(path) as file:
        return file.data(name).copy()


def floats(path: Path, name: str) -> Floats:
    with GGUFFile(path) as file:
        return dequantize(file.data(name), file.tensors[name].type.name).reshape(file.tensors[name].shape)


def test_tensors_and_metadata(model: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.gguf"
    found = quantize_file(model, out, "q4_k_s")
    with GGUFFile(model) as before, GGUFFile(out) as after:
        assert list(after.tensors) == list(before.tensors)
        assert [info.shape for info in after.tensors.values()] == [info.shape for info in before.tensors.values()]
        types = {name: info.type.name for name, info in after.tensors.items()}
        assert types == {plan.name: plan.target.name for plan in found.plans}
        assert set(types.values()) == {"Q4_K", "Q6_K", "Q5_0", "F32"}
        changed = {"general.file_type": 14, "general.quantization_version": 2}
        assert {key: after.metadata[key] for key in changed} == changed
        for key in before.metadata:
            if key not in ("general.file_type", "general.alignment"):
                assert after.metadata.encoded(key) == before.metadata.encoded(key)
        assert "general.alignment" not in after.metadata
        assert sum(info.n_bytes for info in after.tensors.values()) == found.n_bytes
    wanted = quantize(Pool(1), values(20, 256, seed=2).view(np.uint8), "F32", "Q4_K", 256)
    np.testing.assert_array_equal(stored(out, "blk.0.ffn_up.weight"), wanted)
    np.testing.assert_array_equal(floats(out, "blk.0.ffn_norm.weight"), values(256, seed=5))


def test_the_same_file_with_any_number_of_threads(model: Path, tmp_path: Path) -> None:
    one, three = tmp_path / "1.gguf", tmp_path / "3.gguf"
    quantize_file(model, one, "Q4_K_M", n_threads=1)
    quantize_file(model, three, "Q4_K_M", n_threads=3)
    assert one.read_bytes() == three.read_bytes()


def test_only_the_plan(model: Path) -> None:
    before = sorted(model.parent.iterdir())
    found = quantize_file(model, None, "Q8_0")
    assert sorted(model.parent.iterdir()) == before
    assert found.plans[0].target.name == "Q8_0"
    assert 8.5 <= found.bits_per_weight < 9


def test_importances_of_experts(model: Path, tmp_path: Path) -> None:
    weights = np.exp(values(3, 256, seed=9))
    tensors = {"blk.0.ffn_up_exps.weight.in_sum2": weights * 5, "blk.0.ffn_up_exps.weight.counts": np.full((3, 1), 5)}
    matrix = write_imatrix(tmp_path / "imatrix.gguf", {k: v.astype(np.float32) for k, v in tensors.items()})
    out = tmp_path / "out.gguf"
    found = quantize_file(model, out, "Q4_K_S", matrix)
    assert "blk.0.ffn_up.weight" in found.without_importances
    assert "blk.0.ffn_up_exps.weight" not in found.without_importances
    rows = values(3, 20, 256, seed=3).reshape(60, 256).view(np.uint8)
    wanted = quantize(Pool(1), rows, "F32", "Q4_K", 256, weights * np.float32(5) / np.float32(5))
    np.testing.assert_array_equal(stored(out, "blk.0.ffn_up_exps.weight"), wanted)
    with GGUFFile(out) as file:
        assert file.metadata["quantize.imatrix.dataset"] == "a.txt"
        assert file.metadata["quantize.imatrix.chunks_count"] == 3
        assert file.metadata["quantize.imatrix.entries_count"] == 1


def test_importances_of_another_model(model: Path, tmp_path: Path) -> None:
    ones = np.ones((1, 128), np.float32)
    names = ("blk.0.ffn_up.weight.in_sum2", "blk.0.ffn_up.weight.counts")
    matrix = write_imatrix(tmp_path / "m.gguf", {names[0]: ones, names[1]: ones[:, :1]})
    with pytest.raises(ParameterError, match=r"128 columns, but the tensor has 256.*another model"):
        quantize_file(model, tmp_path / "out.gguf", "Q4_K_S", matrix)


def test_a_type_that_needs_importances(model: Path, tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match="needs an importance matrix"):
        quantize_file(model, tmp_path / "out.gguf", "Q2_K_S")
    assert "blk.0.ffn_up.weight" in quantize_file(model, None, "Q2_K_S").needs_importances


def test_a_failure_leaves_the_old_file(model: Path, tmp_path: Path) -> None:
    bad = values(4, 256)
    bad[3, 200] = np.nan
    broken = write_model(tmp_path / "bad.gguf", {"a.weight": values(4, 256), "blk.0.ffn_up.weight": bad})
    out = tmp_path / "out.gguf"
    out.write_bytes(b"old")
    with pytest.raises(TensorError, match=r"blk\.0\.ffn_up\.weight: a value is infinite or NaN"):
        quantize_file(broken, out, "Q4_K_S")
    assert out.read_bytes() == b"old"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["bad.gguf", "model.gguf", "out.gguf"]


@pytest.mark.parametrize("bad", [np.nan, -np.inf])
def test_tensors_that_are_copied_must_be_finite(bad: float, tmp_path: Path) -> None:
    norm = values(256)
    norm[200] = bad
    broken = write_model(tmp_path / "bad.gguf", {"a.weight": values(4, 256), "blk.0.ffn_norm.weight": norm})
    with pytest.raises(TensorError, match=r"blk\.0\.ffn_norm\.weight: a value is infinite or NaN; the file is damaged"):
        quantize_file(broken, tmp_path / "out.gguf", "Q4_K_S")
    half = quantize(Pool(1), values(4, 256).view(np.uint8), "F32", "Q8_0", 256)
    half[2, :2] = np.array([bad], np.float16).view(np.uint8)
    writer = GGUFWriter(tmp_path / "scale.gguf")
    writer.add("general.architecture", "llama")
    writer.add_tensor("blk.0.ffn_up.weight", half, (4, 256), GGMLType.Q8_0)
    writer.write()
    with pytest.raises(TensorError, match=r"blk\.0\.ffn_up\.weight: a value is infinite"):
        quantize_file(tmp_path / "scale.gguf", tmp_path / "out.gguf", "Q8_0")
    assert not (tmp_path / "out.gguf").exists()


def test_files_that_are_no_models(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFoundError):
        quantize_file(tmp_path / "none.gguf", None, "Q8_0")
    (tmp_path / "x.gguf").write_bytes(b"GGUF")
    with pytest.raises(GGUFError):
        quantize_file(tmp_path / "x.gguf", None, "Q8_0")
