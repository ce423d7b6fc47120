"""Adapters of requests: results, same bits whatever the other requests use, and the prefix cache."""

import re
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest

from realizar import LLM, SamplingParams
from realizar._kernels import table
from realizar.errors import AdapterError, ParameterError
from realizar.gguf import GGMLType, GGUFFile
from realizar.quantize.merge import merge_lora
from realizar.quants import dequantize, quantize
from realizar.runtime.adapter_files import write_lora
from realizar.runtime.adapters import MAX_KEPT, Adapter, AdapterTable, AdapterUse
from realizar.testing import relative_error
from tests.adapters import random_lora, write_random_lora, write_random_vector
from tests.isa import DEFINED
from tests.limits.models import FIXTURES, LLAMA, QWEN2, rewritten

FUSED = next((FIXTURES / "phi").glob("*.gguf"))  # attn_qkv
TOKENS = [1, *range(40, 75)]
OPTIONS = {"n_threads": 1, "n_ctx": 128}
"""Of every LLM; test_wgpu_adapters.py has another backend."""


@contextmanager
def loaded(path=LLAMA, names=("a", "b", "c"), folder=None, **options):
    """An LLM with adapters of these names: a and so on of float32, the last one of float16 and rank 20."""
    with LLM(path, **{**OPTIONS, **options}) as llm:
        for seed, name in enumerate(names):
            last = name == names[-1]
            how = {"dtype": np.float16, "rank": 20} if last else {}
            file = write_random_lora(folder / f"{name}.gguf", llm.engine.model, seed=seed, **how)
            llm.add_lora(name, file)
        llm.add_control_vector("v", write_random_vector(folder / "v.gguf", llm.engine.model, [0, 1]))
        yield llm


USES = [("a", ()), ((), ()), ({"b": 0.5}, "v"), ("a", ()), ({"a": 1.0, "c": 2.0}, ()), ((), "v"), ("c", ())]


def params(lora=(), control=(), **more):
    return SamplingParams(temperature=0.0, max_tokens=8, lora=lora, control_vector=control, **more)


def logits(llm, lora=(), control=(), tokens=TOKENS):
    return llm.logits(tokens, params=params(lora, control))


@pytest.mark.parametrize("path", [LLAMA, QWEN2], ids=["llama", "qwen2"])
@pytest.mark.parametrize("activations", ["f32", "int8"])
def test_the_kernels_compute_what_the_definition_says(path, activations, tmp_path):
    options = {"activations": activations, "kv_type": "f32", "folder": tmp_path}
    uses = [("a", ()), ({"c": 0.5}, ()), ({"b": -1.0, "a": 0.25}, "v"), ((), {"v": (2.0, 1, 1)})]
    with loaded(path, **options) as llm, loaded(path, backend="numpy", **options) as numpy:
        base = logits(llm)
        for use in uses:
            found, want = logits(llm, *use), logits(numpy, *use)
            assert relative_error(found, want) < (2e-5 if activations == "f32" else 2e-2), use
            assert relative_error(found, base) > 0.05, use


def in_floats(name, data, shape, kind):
    """A tensor of a model file with its matrices in float32."""
    if len(shape) < 2:
        return name, data, shape, kind
    values = dequantize(data, kind.name).reshape(shape)
    return name, quantize(values, "F32"), shape, GGMLType.F32


SCALES = {"blk.0.attn_q.scale": np.array([0.25], np.float32)}


@pytest.mark.parametrize(
    ("path", "dtype", "more"),
    [(LLAMA, np.float32, {}), (LLAMA, np.float16, {}), (FUSED, np.float32, {}), (LLAMA, np.float32, SCALES)],
    ids=["f32", "f16", "fused", "scales"],
)
def test_merged_weights_give_the_same_logits(path, dtype, more, tmp_path):
    """Also where the file has the rows of q, k and v in one weight, or factors for products."""
    base, merged, adapter = (tmp_path / f"{name}.gguf" for name in ("base", "merged", "adapter"))
    rewritten(path, base, tensors=in_floats, more=more)
    with GGUFFile(base) as file:
        names = [name for name in file.tensors if re.search(r"(attn_q|attn_qkv|attn_output|ffn_up)\.weight", name)]
        shapes, architecture = {name: file.tensors[name].shape for name in names}, file.architecture
    write_lora(adapter, Adapter("lora", random_lora(shapes, dtype=dtype), "random"), architecture)
    options = {"n_threads": 1, "n_ctx": 64, "activations": "f32", "kv_type": "f32"}
    with LLM(base, **options) as llm:
        llm.add_lora("a", adapter)
        found, without = logits(llm, {"a": 0.5}), logits(llm)
    with pytest.raises(ParameterError, match="scale=nan"):
        merge_lora(base, adapter, merged, float("nan"))
    merge_lora(base, adapter, merged, 0.5, n_threads=1)
    with LLM(merged, **options) as llm:
        want = logits(llm)
    assert np.abs(found - want).max() <= 1e-4
    assert np.abs(without - want).max() > 0.1


def completions(llm, uses):
    """Return tokens and logprobs of prompts of different lengths, by their numbers among USES."""
    prompts = [TOKENS[: 20 + i] for i in uses]
    each = [params(*USES[i], logprobs=3) for i in uses]
    found = llm.generate(prompts, each)
    return {i: (c.token_ids, [t.top for t in c.logprobs]) for i, c in zip(uses, found, strict=True)}


def test_bits_do_not_depend_on_the_others(tmp_path):
    """Alone and next to requests with other adapters, in any chunks, on any threads, on every ISA level."""
    everything = range(len(USES))
    with loaded(folder=tmp_path) as llm:
        together = completions(llm, everything)
    for options in ({"n_batch": 7}, {"n_threads": 3}):
        with loaded(folder=tmp_path, **options) as llm:
            assert completions(llm, everything) == together, options
    with loaded(folder=tmp_path) as llm:
        for i in everything:
            assert completions(llm, [i]) == {i: together[i]}, USES[i]
    before = table.current()
    for isa in DEFINED:
        table.use(isa)
        try:
            with loaded(folder=tmp_path) as llm:
                assert completions(llm, everything[:5]) == {i: together[i] for i in everything[:5]}, isa
        finally:
            table.use(before)


def test_no_adapter_costs_nothing(tmp_path):
    with loaded(folder=tmp_path) as llm:
        llm.generate([TOKENS], params())
        runner = llm.engine.runner
        assert not any(op.spec.in_place for op in runner.program(None).plan.ops)
        assert len(runner._programs) == 1
        llm.generate([TOKENS], params("a"))
        assert len(runner._programs) == 2


def test_prefixes_are_kept_apart(tmp_path):
    def n_cached(*use):
        return llm.generate([TOKENS], params(*use))[0].timings.n_cached

    with loaded(folder=tmp_path) as llm:
        for use in ((), ("a",), ({"a": 0.5},), ("b",), ((), "v"), ((), {"v": (1.0, 0, 0)})):
            assert n_cached(*use) == 0, use
            assert n_cached(*use) == 32, use
        llm.remove_lora("a")
        llm.add_lora("a", tmp_path / "b.gguf")
        assert n_cached("a") == 0  # it is another adapter now


def test_adapters_are_added_and_removed_while_requests_run(tmp_path):
    with loaded(folder=tmp_path, names=("a", "b")) as llm:
        (want,) = llm.generate([TOKENS], params("a"))
        stream = llm.stream(TOKENS, params("a"))
        pieces = [next(stream)]
        llm.remove_lora("a")
        assert list(llm.loras) == ["b"]
        with pytest.raises(AdapterError, match=r"lora 'a': is not loaded; loaded are b"):
            llm.generate([TOKENS], params("a"))
        pieces += list(stream)
        assert "".join(pieces) == want.text


def test_every_kind_of_request(tmp_path):
    """Parallel samples, beams, guidance and scores use the adapter, too."""
    with loaded(folder=tmp_path) as llm:
        (plain,) = llm.generate([TOKENS], params("a"))
        assert llm.generate(TOKENS, params(), lora="a")[0].token_ids == plain.token_ids
        assert llm.generate([TOKENS] * 2, [params(), params()], lora={"a": 1.0})[1].token_ids == plain.token_ids
        for more in ({"n_beams": 2}, {"cfg_scale": 1.5}):
            (found,) = llm.generate([TOKENS], params("a", **more))
            (base,) = llm.generate([TOKENS], params(**more))
            assert found.token_ids != base.token_ids, more


def test_scales_of_zero_and_several_adapters(tmp_path):
    with loaded(folder=tmp_path) as llm:
        np.testing.assert_array_equal(logits(llm, {"a": 0.0}), logits(llm))
        twice = logits(llm, {"a": 1.0, "b": 1.0})
        assert relative_error(logits(llm, {"b": 1.0, "a": 1.0}), twice) < 1e-2
        assert relative_error(logits(llm, "a"), twice) > 0.05


def test_activated_adapters(tmp_path):
    """Applied from the last invocation on; the prefix before it is that of the model."""
    with loaded(folder=tmp_path) as llm:
        path = tmp_path / "activated.gguf"
        write_lora(path, replace(llm.loras["a"], invocation=(60, 61)), "llama")
        llm.add_lora("activated", path)
        llm.add_lora("other", path)
        assert llm.loras["activated"].invocation == (60, 61)
        row = TOKENS.index(60)
        found, base, whole = (logits(llm, use) for use in ("activated", (), "a"))
        np.testing.assert_array_equal(found[:row], base[:row])
        assert relative_error(found[row:], base[row:]) > 0.05
        assert relative_error(found[row:], whole[row:]) > 0.01
        np.testing.assert_array_equal(logits(llm, "activated", tokens=TOKENS[:row]), base[:row])
        cached = [llm.generate([TOKENS], params(use))[0].timings.n_cached for use in ("activated", "other", "other")]
        assert cached == [32, row // 16 * 16, 32]  # the other one shares the blocks before the invocation
        with pytest.raises(AdapterError, match="is used alone"):
            llm.generate([TOKENS], params({"activated": 1.0, "a": 1.0}))
    with loaded(folder=tmp_path, n_batch=7) as llm:
        llm.add_lora("activated", path)
        np.testing.assert_array_equal(logits(llm, "activated"), found)
    with pytest.raises(AdapterError, match="cannot be merged"):
        merge_lora(LLAMA, path, tmp_path / "merged.gguf", n_threads=1)


def test_numbers_of_sets_are_bounded():
    """Clients can ask for ever new scales; a set that is held keeps its number, and no number is used twice."""
    table, adapter = AdapterTable(), Adapter("lora", {}, "a")
    first = table.set_of((AdapterUse(adapter, 1.0),))
    assert table.set_of((AdapterUse(adapter, 1.0),)) is first
    others = {table.set_of((AdapterUse(adapter, 2.0 + i),)).number for i in range(MAX_KEPT)}
    assert len(others) == MAX_KEPT
    assert first.number not in others
    assert table.get(first.number) is first
    assert table.set_of((AdapterUse(adapter, 1.0),)).number not in {first.number, *others}
    assert len(table._number_of) == MAX_KEPT
