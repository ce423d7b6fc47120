"""Encoders, rerankers and encoder-decoders through LLM, against transformers and llama.cpp on tiny random models."""

from functools import cache

import numpy as np
import pytest

from realizar import LLM, SamplingParams
from realizar.testing import relative_error
from tests.parity import cases

# T5 1.0 scales by n_embd^-0.5 before its tied output matrix; llama.cpp does not
LLAMACPP_OVER_HF = {"t5": 16.0}
GELU_TABLE = 5e-4  # llama.cpp computes gelu with a table of float16 values


def each(names, more=()):
    paths = [path for name in names for path in sorted((cases.WHOLE_SET / name).glob("*.gguf"))]
    return pytest.mark.parametrize("path", [*paths, *more], ids=cases.name)


each_encoder = each(cases.ENCODERS, cases.second_files("encoder") + cases.own_files("encoder"))


@cache
def golden(path):
    """Return the arrays of a case; llama.cpp's logits are scaled as in transformers."""
    factor = LLAMACPP_OVER_HF.get(path.parent.name, 1.0)
    arrays = np.load(path.parent / "golden.npz")
    return {
        name: arrays[name].astype(np.float32) / factor if name.startswith("logits_") else arrays[name]
        for name in arrays
    }  # fmt: skip


def exact(path, prefix, truth):
    """Return the reference values of a file, the error bound of the f32 path, and llama.cpp's values."""
    arrays, name = golden(path), path.stem.removeprefix("model-")
    own = arrays[f"{prefix}_{name}"].astype(np.float32)
    if f"{prefix}_{name}_exact" in arrays:
        return arrays[f"{prefix}_{name}_exact"], GELU_TABLE, own
    return arrays[truth], 2e-5, own


def ids(path, name="tokens"):
    return [int(token) for token in golden(path)[name]]


@each_encoder
def test_hidden_states(path):
    want, bound, llama_cpp = exact(path, "hidden", "hf_hidden")
    with LLM(path, activations="f32", kv_type="f32") as llm:
        assert relative_error(llm.embed(ids(path), pooling=None)[0], want) <= bound
    with LLM(path) as llm:
        assert relative_error(llm.embed(ids(path), pooling=None)[0], want) <= 1.1 * relative_error(llama_cpp, want)


@each_encoder
@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_embeddings(path, pooling):
    name = path.stem.removeprefix("model-")
    arrays = golden(path)
    want = arrays.get(f"pooled_{pooling}_{name}_exact", arrays[f"hf_pooled_{pooling}"])
    with LLM(path, activations="f32") as llm:
        (vector,) = llm.embed([ids(path)], pooling)
    assert vector @ want >= 0.9999 * np.linalg.norm(want)
    assert np.linalg.norm(vector) == pytest.approx(1.0)


@pytest.mark.parametrize("path", cases.second_files("rank"), ids=cases.name)
def test_ranks(path):
    arrays = golden(path)
    texts, want = arrays["tokens"].tolist(), arrays["hf_rank"]
    with LLM(path, activations="f32", kv_type="f32") as llm:
        np.testing.assert_allclose(llm.embed(texts, pooling="rank"), want, atol=1e-4)
    with LLM(path) as llm:
        error = relative_error(llm.embed(texts, pooling="rank"), want)
        assert error <= 1.5 * relative_error(arrays["rank_q8_0"], want)  # of eight numbers: noise differs more


@pytest.mark.parametrize("path", sorted((cases.SECOND_SET / "embeddinggemma").glob("model-dense-*")), ids=cases.name)
def test_dense_layers(path):
    arrays = golden(path)
    want = arrays["hf_dense_mean"]
    with LLM(path, activations="f32", kv_type="f32") as llm:
        assert relative_error(llm.embed(ids(path), normalize=False)[0], want) <= 2e-5
    with LLM(path) as llm:
        error = relative_error(llm.embed(ids(path), normalize=False)[0], want)
        assert error <= 1.1 * relative_error(arrays["dense_mean_q8_0"], want)


@each(cases.ANSWERERS)
def test_decoder_logits(path):
    want, bound, llama_cpp = exact(path, "logits", "hf_logits")
    tokens, answer = ids(path), ids(path, "dec_tokens")
    with LLM(path, activations="f32", kv_type="f32") as llm:
        assert relative_error(llm.logits(tokens, decoder_tokens=answer), want) <= bound
        if bound < GELU_TABLE:
            assert relative_error(llm.embed(tokens, pooling=None)[0], golden(path)["hf_encoder_hidden"]) <= bound
    with LLM(path) as llm:
        error = relative_error(llm.logits(tokens, decoder_tokens=answer), want)
        assert error <= 1.1 * relative_error(llama_cpp, want)


@each(cases.ANSWERERS)
def test_greedy_completions(path):
    arrays, name = golden(path), path.stem.removeprefix("model-")
    kind = f"{name}_exact" if f"greedy_{name}_exact" in arrays else None
    want = arrays[f"greedy_{kind}"] if kind else arrays["hf_greedy"]
    margin = arrays[f"greedy_margin_{kind}"] if kind else arrays["hf_greedy_margin"]
    with LLM(path, activations="f32", kv_type="f32") as llm:
        params = SamplingParams(temperature=0, max_tokens=len(want), ignore_eos=True)
        (found,) = llm.generate([ids(path)], params)
    for step, (token, wanted) in enumerate(zip(found.token_ids, want, strict=True)):
        if token != wanted:
            assert margin[step] < 1e-3, f"step {step}: {token}, not {wanted}, with a margin of {margin[step]}"
            return
