"""Every file of the shared parity set opens, and its tensors match the gguf package."""

from pathlib import Path

import gguf
import numpy as np
import pytest

from realizar.gguf import GGUFFile, summarize
from realizar.quants import FORMATS, dequantize
from tests.shared import SHARED, needs_shared

FIXTURES = Path(__file__).resolve().parents[1] / "fixtures"
FILES = sorted([*SHARED.rglob("*.gguf"), *FIXTURES.rglob("*.gguf")])

# ggml types that the gguf package (0.19) does not know (Q2_0) or cannot dequantize (Q1_0).
UNKNOWN_TO_PACKAGE = {"model-q1_0.gguf", "model-q2_0.gguf"}


@needs_shared
def test_parity_set_is_not_empty():
    assert len(FILES) > 50


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_opens(path):
    with GGUFFile(path) as file:
        summary = summarize(file)
        assert summary["architecture"]
        assert file.n_bytes == path.stat().st_size
        for name in file.tensors:
            assert file.data(name).nbytes == file.tensors[name].n_bytes


@pytest.mark.parametrize(
    "path",
    [p for p in FILES if p.parent.name in ("llama", "qwen2") and p.name not in UNKNOWN_TO_PACKAGE],
    ids=lambda path: f"{path.parent.name}/{path.name}",
)
def test_tensors(path):
    reader = gguf.GGUFReader(path)
    with GGUFFile(path) as file:
        assert [tensor.name for tensor in reader.tensors] == list(file.tensors)
        for tensor in reader.tensors:
            info = file.tensors[tensor.name]
            assert tuple(tensor.shape[::-1]) == info.shape
            assert tensor.data.nbytes == info.n_bytes
            if info.type.name in FORMATS:
                expected = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
                ours = dequantize(file.data(info.name), info.type.name).reshape(info.shape)
                np.testing.assert_array_equal(ours, expected)
