"""Adapters of experts and of embeddings: their results, merging, and the same bits whatever the other requests use."""

import re
from dataclasses import replace

import numpy as np
import pytest

from realizar import LLM, Embeddings, SamplingParams, Tokens
from realizar._kernels import table
from realizar.arch import registry
from realizar.errors import AdapterError
from realizar.gguf import GGUFFile
from realizar.quantize.merge import merge_lora
from realizar.runtime.adapter_files import open_lora, write_lora
from realizar.runtime.adapters import Adapter
from realizar.testing import relative_error, tiny_metadata, tiny_model
from tests.adapters import random_lora, shapes_of, write_random_lora
from tests.arch.test_families import FAMILIES
from tests.engine.fake import Letters
from tests.engine.test_adapters import in_floats
from tests.isa import DEFINED
from tests.limits.models import FIXTURES, LLAMA, rewritten

GATED = FIXTURES.with_name("parity2026") / "qwen3vlmoe" / "model-q8_0.gguf"
SHARED = FIXTURES.with_name("parity2026") / "bailingmoe" / "model-q8_0.gguf"
PARTS = {
    "embedding": ["token_embd"], "gate": ["ffn_gate_exps"], "up": ["ffn_up_exps"], "down": ["ffn_down_exps"],
    "all": ["token_embd", "_exps", "attn_q.", "attn_output"],
}  # fmt: skip
TOKENS = list(range(3, 40))
FLOATS = {"n_threads": 1, "n_ctx": 64, "activations": "f32", "kv_type": "f32"}


def logits(llm, lora=(), tokens=TOKENS):
    return llm.logits(tokens, params=SamplingParams(lora=lora))


def with_adapters(folder, path, **options):
    """A model with an adapter of each of PARTS."""
    llm = LLM(path, **{"n_threads": 1, "n_ctx": 64, **options})
    llm.engine.model.__dict__["tokenizer"] = Letters()
    for seed, (name, parts) in enumerate(PARTS.items()):
        how = {"dtype": np.float16, "rank": 20} if name == "all" else {}
        if shapes_of(llm.engine.model, *parts):
            llm.add_lora(name, write_random_lora(folder / f"{name}.gguf", llm.engine.model, *parts, seed=seed, **how))
    return llm


@pytest.fixture(scope="module")
def ungated(tmp_path_factory):
    """A model whose experts have no gate."""
    name, folder = "nemotron_h_moe", tmp_path_factory.mktemp("ungated")
    metadata = {**tiny_metadata(name), **{f"{name}.{key}": value for key, value in FAMILIES[name][1].items()}}
    with tiny_model(registry.default().architecture(name), metadata, "Q8_0", folder) as model:
        return model.file.path


@pytest.mark.parametrize("activations", ["f32", "int8"])
@pytest.mark.parametrize("path", [GATED, SHARED, "ungated"], ids=["gated", "shared", "ungated"])
def test_the_kernels_compute_what_the_definition_says(path, activations, tmp_path, request):
    path = request.getfixturevalue(path) if isinstance(path, str) else path
    options = {"activations": activations, "kv_type": "f32"}
    with (
        with_adapters(tmp_path, path, **options) as llm,
        with_adapters(tmp_path, path, backend="numpy", **options) as numpy,
    ):
        base = logits(llm)
        for name in llm.loras:
            found, want = logits(llm, name), logits(numpy, name)
            assert relative_error(found, want) < (2e-5 if activations == "f32" else 3e-2), name
            assert relative_error(found, base) > 0.005, name
        assert ("gate" in llm.loras) == (path in (GATED, SHARED))


@pytest.mark.parametrize("path", [GATED, SHARED], ids=["gated", "shared"])
@pytest.mark.parametrize("names", ["token_embd", "(gate|up)_exps", "down_exps", "token_embd|_exps|attn_(qkv|q|output)"])
def test_merged_weights_give_the_same_logits(path, names, tmp_path):
    """Also where the file has gate and up of the experts in one weight."""
    base, merged, adapter = (tmp_path / f"{name}.gguf" for name in ("base", "merged", "adapter"))
    rewritten(path, base, tensors=in_floats)
    with GGUFFile(base) as file:
        found = (info for name, info in file.tensors.items() if re.search(rf"({names})\.weight", name))
        shapes, architecture = {info.name: info.shape for info in found}, file.architecture
    write_lora(adapter, Adapter("lora", random_lora(shapes), "random"), architecture)
    with LLM(base, **FLOATS) as llm:
        llm.add_lora("a", adapter)
        found, without = logits(llm, {"a": 0.5}), logits(llm)
    merge_lora(base, adapter, merged, 0.5, n_threads=1)
    with LLM(merged, **FLOATS) as llm:
        want = logits(llm)
    assert np.abs(found - want).max() <= 1e-4
    assert np.abs(without - want).max() > 0.02


def completions(llm, uses):
    each = [SamplingParams(temperature=0.0, max_tokens=6, logprobs=3, lora=use) for use in uses]
    found = llm.generate([TOKENS[: 20 + i] for i in range(len(uses))], each)
    return [(c.token_ids, [t.top for t in c.logprobs]) for c in found]


def test_bits_do_not_depend_on_the_others(tmp_path):
    """In one batch and alone, in other chunks, on more threads, on every ISA level."""
    uses = ["all", (), {"up": 0.5, "down": 2.0}, "embedding", "gate", {"all": 0.5, "embedding": 1.0}]
    with with_adapters(tmp_path, GATED) as llm:
        together = completions(llm, uses)
    assert len({str(each) for each in together}) == len(uses)
    for options in ({"n_seqs": 1}, {"n_batch": 7}, {"n_threads": 3}):
        with with_adapters(tmp_path, GATED, **options) as llm:
            assert completions(llm, uses) == together, options
    before = table.current()
    for isa in DEFINED:
        table.use(isa)
        try:
            with with_adapters(tmp_path, GATED) as llm:
                assert completions(llm, uses) == together, isa
        finally:
            table.use(before)
    with LLM(GATED, n_threads=1, n_ctx=64) as llm:
        llm.engine.model.__dict__["tokenizer"] = Letters()
        assert completions(llm, [(), ()])[1] == together[1]


def test_given_embeddings_are_not_changed(tmp_path):
    """Those of a picture are no rows of the table."""
    with with_adapters(tmp_path, GATED, **FLOATS) as llm:
        rows = np.random.default_rng(0).standard_normal((3, llm.engine.model.hp.n_embd)).astype(np.float32)
        parts = [Tokens(TOKENS[:4]), Embeddings(rows)]
        np.testing.assert_array_equal(logits(llm, "embedding", [Embeddings(rows)]), logits(llm, (), [Embeddings(rows)]))
        assert relative_error(logits(llm, "embedding", parts), logits(llm, (), parts)) > 0.05


def test_a_table_that_is_also_the_output_matrix(tmp_path):
    """The adapter changes the rows that tokens take alone, as PEFT's; merging would change both."""
    tied = tmp_path / "tied.gguf"
    rewritten(LLAMA, tied, tensors=lambda name, *data: None if name == "output.weight" else in_floats(name, *data))
    with LLM(tied, **FLOATS) as llm:
        shapes = shapes_of(llm.engine.model, "token_embd")
        write_lora(tmp_path / "a.gguf", Adapter("lora", random_lora(shapes), "a"), llm.engine.model.architecture.name)
        llm.add_lora("a", tmp_path / "a.gguf")
        found = logits(llm, "a")
        with LLM(tied, backend="numpy", **FLOATS) as numpy:
            numpy.add_lora("a", tmp_path / "a.gguf")
            assert relative_error(found, logits(numpy, "a")) < 2e-5
    with pytest.raises(AdapterError, match="uses the table of embeddings as the output matrix"):
        merge_lora(tied, tmp_path / "a.gguf", tmp_path / "merged.gguf", n_threads=1)


def test_the_form_of_files(tmp_path):
    """llama.cpp's: a row of A for each token; experts stacked."""
    with LLM(GATED, **FLOATS) as llm:
        model = llm.engine.model
        path = write_random_lora(tmp_path / "a.gguf", model, "token_embd", "ffn_up_exps", rank=4)
        n_vocab, n_embd = model.hp.n_vocab, model.hp.n_embd
        n_expert, n_ff, _ = model.tensors["blk.0.ffn_up_exps.weight"].shape
    with GGUFFile(path) as file:
        shapes = {name: info.shape for name, info in file.tensors.items()}
        assert shapes["token_embd.weight.lora_a"] == (n_vocab, 4)
        assert shapes["token_embd.weight.lora_b"] == (n_embd, 4)
        assert shapes["blk.0.ffn_up_exps.weight.lora_a"] == (n_expert, 4, n_embd)
        assert shapes["blk.0.ffn_up_exps.weight.lora_b"] == (n_expert, n_ff, 4)
        architecture = file.architecture
    found = open_lora(path, architecture)
    write_lora(tmp_path / "b.gguf", replace(found, path="a"), architecture)
    for name, factors in open_lora(tmp_path / "b.gguf", architecture).factors.items():
        np.testing.assert_array_equal(factors.a, found.factors[name].a)
        np.testing.assert_array_equal(factors.b, found.factors[name].b)
