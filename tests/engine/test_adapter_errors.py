"""Errors of adapters that cannot be used."""

import numpy as np
import pytest

from realizar import LLM, SamplingParams
from realizar.errors import AdapterError, GGUFError, ModelNotFoundError, ParameterError
from realizar.gguf import GGMLType, GGUFWriter
from realizar.runtime.adapter_files import open_lora, write_control_vector, write_lora
from realizar.runtime.adapters import Adapter
from tests.adapters import random_lora, write_random_lora, write_random_vector
from tests.limits.models import LLAMA, QWEN2


@pytest.fixture(scope="module")
def llm():
    with LLM(LLAMA, n_threads=1, n_ctx=64) as found:
        yield found


def written(path, shapes, architecture="llama"):
    write_lora(path, Adapter("lora", random_lora(shapes), str(path)), architecture)
    return path


@pytest.mark.parametrize(
    ("shapes", "architecture", "message"),
    [
        ({"blk.0.attn_q.weight": (256, 256)}, "qwen2", "is for architecture qwen2, but the model is of .* llama"),
        ({"blk.0.attn_q.weight": (256, 128)}, "llama", r"weight of shape \(256, 128\), but .* has \(256, 256\)"),
        ({"blk.9.attn_q.weight": (256, 256)}, "llama", r"blk.9.attn_q.weight: .* has no such weight; did you mean"),
        ({"token_embd.weight": (500, 256)}, "llama", r"weight of shape \(500, 256\), but .* has \(512, 256\)"),
        ({"blk.0.attn_norm.weight": (256, 1)}, "llama", "is used by rms_norm"),
    ],
)
def test_adapters_that_do_not_fit(llm, shapes, architecture, message, tmp_path):
    path = written(tmp_path / "a.gguf", shapes, architecture)
    with pytest.raises(AdapterError, match=message):
        llm.add_lora("a", path)
    assert not llm.loras


def test_files_that_are_no_adapters(llm, tmp_path):
    with pytest.raises(AdapterError, match="is not an adapter"):
        llm.add_lora("a", LLAMA)
    with pytest.raises(AdapterError, match="a controlvector file is needed"):
        llm.add_control_vector("v", LLAMA)
    with pytest.raises(ModelNotFoundError, match="no such file"):
        llm.add_lora("a", tmp_path / "missing.gguf")
    (tmp_path / "text").write_text("no GGUF")
    with pytest.raises(GGUFError):
        llm.add_lora("a", tmp_path / "text")


@pytest.mark.parametrize(
    ("key", "value", "shape", "message"),
    [
        ("adapter.lora.alpha", 4.0, (256,), r"factors of shapes \(256,\) and \(256,\) do not fit"),
        ("adapter.lora.alpha", float("nan"), (4, 256), "adapter.lora.alpha is nan"),
        ("adapter.alora.invocation_tokens", "abc", (4, 256), "is 'abc'; a list of tokens"),
        ("adapter.alora.invocation_tokens", ["a"], (4, 256), "a list of tokens is needed"),
    ],
)
def test_invalid_files(llm, key, value, shape, message, tmp_path):
    writer = GGUFWriter(tmp_path / "a.gguf")
    kinds = {"general.architecture": "llama", "general.type": "adapter", "adapter.type": "lora"}
    for each, text in {**kinds, key: value}.items():
        writer.add(each, text)
    for suffix, dims in (("a", shape), ("b", shape[::-1])):
        data = np.ones(dims, np.float32)
        writer.add_tensor(f"blk.0.attn_q.weight.lora_{suffix}", data.view(np.uint8), dims, GGMLType.F32)
    writer.write()
    with pytest.raises(AdapterError, match=message):
        llm.add_lora("a", tmp_path / "a.gguf")


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite(llm, dtype, value, tmp_path):
    """They would make NaN of the logits of each request, and fail the step of all others."""
    name = "blk.0.attn_q.weight"
    (factors,) = random_lora({name: (256, 256)}, dtype=dtype).values()
    for which in ("a", "b"):
        changed = getattr(factors, which).copy()
        changed[1, 2] = value
        write_lora(tmp_path / "a.gguf", Adapter("lora", {name: factors._replace(**{which: changed})}, "a"), "llama")
        with pytest.raises(AdapterError, match=rf"{name}: factor {which.upper()} has infinities or NaN"):
            llm.add_lora("a", tmp_path / "a.gguf")
    write_control_vector(tmp_path / "v.gguf", {1: np.full(256, value, np.float32)}, "llama")
    with pytest.raises(AdapterError, match=r"direction.1: factor B has infinities"):
        llm.add_control_vector("v", tmp_path / "v.gguf")
    largest = np.full((8, 256), np.finfo(dtype).max)  # which is finite
    write_lora(tmp_path / "a.gguf", Adapter("lora", {name: factors._replace(a=largest)}, "a"), "llama")
    open_lora(tmp_path / "a.gguf", "llama")


def test_names(llm, tmp_path):
    llm.add_lora("summary", write_random_lora(tmp_path / "a.gguf", llm.engine.model))
    try:
        with pytest.raises(AdapterError, match="lora 'summary': is loaded already"):
            llm.add_lora("summary", tmp_path / "a.gguf")
        for path in ("", None, 3, b"a.gguf", ["a.gguf"]):
            with pytest.raises(AdapterError, match=r"lora 'b': path=.*; a GGUF file or a folder of PEFT is needed"):
                llm.add_lora("b", path)
            with pytest.raises(AdapterError, match=r"control vector 'b': path=.*; a GGUF file is needed"):
                llm.add_control_vector("b", path)
        with pytest.raises(GGUFError, match="cannot be read"):
            llm.add_lora("b", "x" * 5000)
        with pytest.raises(AdapterError, match="a name that is not empty"):
            llm.add_lora("", tmp_path / "a.gguf")
        with pytest.raises(AdapterError, match=r"lora 'summary_': is not loaded; .*did you mean summary\?"):
            llm.generate("a", SamplingParams(lora="summary_"))
    finally:
        llm.remove_lora("summary")
    with pytest.raises(AdapterError, match="loaded are none"):
        llm.remove_lora("summary")


def test_vectors_that_do_not_fit(llm, tmp_path):
    path = tmp_path / "v.gguf"
    write_control_vector(path, {7: np.ones(256, np.float32)}, "llama")
    with pytest.raises(AdapterError, match=r"direction.7: llama with 2 layers has no single hidden state"):
        llm.add_control_vector("v", path)
    write_control_vector(path, {1: np.ones(128, np.float32)}, "llama")
    with pytest.raises(AdapterError, match=r"direction\.1 has 128 numbers, the model's 256"):
        llm.add_control_vector("v", path)
    with LLM(QWEN2, n_threads=1, n_ctx=64) as other:
        write_random_vector(path, llm.engine.model, [1])
        with pytest.raises(AdapterError, match="is for architecture llama, but the model is of architecture qwen2"):
            other.add_control_vector("v", path)


@pytest.mark.parametrize(
    "given",
    [{"lora": 3}, {"lora": ("a",)}, {"lora": ["a"]},
     {"lora": {"a": "b"}}, {"lora": {1: 1.0}}, {"lora": {"a": float("nan")}}, {"control_vector": ["v"]},
     {"lora": ((1, 2.0),)}, {"control_vector": (("v", 1.0, 5),)},
     {"control_vector": {"v": (1.0, 2)}}, {"control_vector": {"v": (1.0, 2, 1)}}],
    ids=str,
)  # fmt: skip
def test_invalid_params(given):
    with pytest.raises(ParameterError, match=next(iter(given))):
        SamplingParams(**given)


def test_params_are_kept():
    given = SamplingParams(lora={"a": 1, "b": 0.5}, control_vector={"v": (2, 0, 1), "w": 1.0})
    assert given.lora == (("a", 1.0), ("b", 0.5))
    assert given.control_vector == (("v", 2.0, (0, 1)), ("w", 1.0, None))
    again = SamplingParams(lora=given.lora, control_vector=given.control_vector)
    assert again == given


def test_a_backend_that_applies_no_adapters(llm, tmp_path, monkeypatch):
    path = write_random_lora(tmp_path / "lora.gguf", llm.engine.model)
    monkeypatch.setattr(type(llm.engine.runner.backend), "applies_adapters", False)
    with pytest.raises(AdapterError, match="backend='cpu'"):
        llm.add_lora("a", path)
