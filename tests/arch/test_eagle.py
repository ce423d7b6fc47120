"""EAGLE-3: the conformance of its programs, its numbers by the paper's equations, and drafts that do not fit."""

from pathlib import Path

import numpy as np
import pytest

from realizar import LLM, SamplingParams
from realizar.arch import registry
from realizar.cli.checks import verify
from realizar.errors import GGUFError, ParameterError, TensorError
from realizar.model import load
from realizar.runtime.draft_files import input_of_layer
from realizar.testing import (
    Session,
    check_all_used,
    check_fusion,
    check_interpreter,
    check_same_bits,
    random_tokens,
    relative_error,
    tiny_metadata,
    tiny_model,
)
from tests.eagle import N_VOCAB, Eagle3, Paper, drafted_by_engine, metadata, open_both, write_draft
from tests.engine.fake import Letters
from tests.isa import LEVELS
from tests.limits.models import rewritten
from tests.parity import cases
from tests.shared import SHARED as FILES
from tests.shared import needs_shared

FIXTURES = Path(__file__).parents[1] / "fixtures"
EAGLE_CASES = sorted(cases.EAGLE.iterdir())
EAGLE_TARGET = FIXTURES / "parity2026" / "xverse" / "model-q8_0.gguf"
PERMUTED = np.random.default_rng(0).permutation(N_VOCAB)


@pytest.fixture(scope="module")
def target(tmp_path_factory):
    folder = tmp_path_factory.mktemp("target")
    with tiny_model(
        registry.default().architecture("llama"), tiny_metadata("llama"), "Q8_0", folder, optional=False
    ) as m:
        return m.file.path


@pytest.mark.parametrize("flags", [{}, {"norm_before_fc": True, "norm_before_residual": True}])
def test_conformance(flags, tmp_path):
    with tiny_model(Eagle3(), metadata(**flags), "Q8_0", tmp_path) as model:
        check_all_used(model)
        check_interpreter(model, "f32", LEVELS)
        check_fusion(model)
        for program in model.graphs:
            check_same_bits(model, program, LEVELS)


def features_of(model, tokens):
    """The hidden states that the draft reads, [n, 3 * n_embd], with float32 activations."""
    names = dict.fromkeys(model.layer_inputs)
    found = Session(model, model.plan(None, names), activations="f32", kv_type="f32").prompt(tokens, len(tokens))
    return np.concatenate([found[name] for name in model.layer_inputs], axis=1)


@pytest.mark.parametrize("flags", [{}, {"norm_before_fc": True}, {"norm_before_residual": True}])
def test_against_the_equations_of_the_paper(flags, target, tmp_path, monkeypatch):
    """The states of a prompt, and the logits of four draft tokens after it, as the engine computes them."""
    model = open_both(target, write_draft(tmp_path / "draft.gguf", PERMUTED[:200], **flags))
    tokens = random_tokens(20)
    features = features_of(model, tokens)
    (draft,) = model.drafts
    want, want_drafted = Paper(draft.tensors, draft.hp, PERMUTED).chain(tokens, features[:-1], 4)
    model.close()
    found, drafted = drafted_by_engine(target, tmp_path / "draft.gguf", tokens, monkeypatch)
    assert len(want[0]) == 200
    assert relative_error(found, np.array(want, np.float32)) <= 2e-5
    assert drafted == want_drafted[:3]


@pytest.mark.parametrize("folder", EAGLE_CASES, ids=lambda folder: folder.name)
def test_against_speculators(folder, monkeypatch):
    """Logits and draft tokens of another implementation, from the hidden states of transformers' model on."""
    golden = np.load(folder / "golden.npz")
    tokens = golden["tokens"].tolist()
    found, drafted = drafted_by_engine(EAGLE_TARGET, folder / "draft-q8_0.gguf", tokens, monkeypatch)
    assert relative_error(found, golden["logits"]) <= 1e-4
    assert drafted == golden["drafted"].tolist()[:3]


# Layers from 1 to n_layer before which there is no single hidden state.
WITHOUT = {
    "gemma3n": range(1, 25),  # four streams
    "olmo": range(1, 3),  # its norms have no weights, so that nothing marks where a layer begins
    "rwkv7": range(1, 2),  # the values of the first layer are mixed into those of the others
    "lfm2": [4], "lfm2moe": [4],  # the final norm has another name
}  # fmt: skip
OWN = sorted(FIXTURES.glob("parity*/*/*.gguf"))


@pytest.mark.parametrize("path", [*OWN, pytest.param(FILES, marks=needs_shared)], ids=lambda path: path.parent.name)
def test_the_inputs_of_layers(path):
    """Of every decoder here; the whole parity sets have nearly all architectures."""
    for file in [path] if path.is_file() else sorted(path.glob("parity*/*/model-q8_0.gguf")):
        model = load(file)
        graph, hp, name = model.graphs.get("decode"), model.hp, model.architecture.name
        if graph is not None and not model.has_encoder:
            found = [input_of_layer(graph, i, hp.n_layer, hp.n_embd) for i in range(hp.n_layer + 1)]
            assert [i for i, state in enumerate(found) if i and state is None] == list(WITHOUT.get(name, []))
        model.close()


@pytest.mark.parametrize("case", ["llama", "qwen2", "phi", "bloom", "bailingmoe"])
def test_a_layer_continues_from_its_input(case):
    """The logits follow from the hidden state before any layer, with the same bits."""
    path = next(path for path in OWN if path.parent.name == case)
    model, tokens = load(path), [token % 100 for token in random_tokens(12)]
    graph, hp = model.graphs["decode"], model.hp
    names = [input_of_layer(graph, i, hp.n_layer, hp.n_embd) for i in range(hp.n_layer + 1)]
    whole = Session(model, model.plan(None, ["logits", *names])).prompt(tokens, 12)
    for name in names:
        rest = Session(model, model.plan(None, ["logits"], [name])).step([(0, 0, tokens)], {name: whole[name]})
        np.testing.assert_array_equal(rest["logits"], whole["logits"])
    model.close()


def completions(target, **how):
    with LLM(target, n_ctx=64, n_threads=1, **how) as llm:
        llm.engine.model.__dict__["tokenizer"] = Letters()
        return llm.generate([[1, 2, 3], [4] * 30], SamplingParams(temperature=0.0, max_tokens=8, ignore_eos=True))


def test_a_draft_with_few_tokens_and_parts_of_the_model(target, tmp_path):
    want = completions(target)
    for name, options in (("few", {"tokens": PERMUTED[:50]}), ("shared", {"optional": False})):
        draft = write_draft(tmp_path / f"{name}.gguf", **options)
        assert [c.token_ids for c in completions(target, draft=draft)] == [c.token_ids for c in want]


MISFITS = {
    "target_hidden_size": (128, r"hidden size 128, but .* has 256; take the draft"),
    "vocab_size": (300, r"number of tokens 300, but .* has 288"),
    "target_layers": ([0, 1, 3], r"layers 0, 1, 3, but .* has 2 layers"),
}


@pytest.mark.parametrize("key", MISFITS)
def test_drafts_of_other_models(key, target, tmp_path):
    value, message = MISFITS[key]
    with pytest.raises(ParameterError, match=rf"^draft=draft.gguf: .*{message}"):
        LLM(target, draft=write_draft(tmp_path / "draft.gguf", **{key: value}))


def vocabulary(*tokens):
    names = [*tokens, *(f"t{i}" for i in range(len(tokens), N_VOCAB))]
    return {"tokenizer.ggml.model": "gpt2", "tokenizer.ggml.tokens": names, "tokenizer.ggml.merges": ["t 1"],
            "tokenizer.ggml.token_type": [1] * N_VOCAB}  # fmt: skip


def test_drafts_with_other_tokens(target, tmp_path):
    own = rewritten(target, tmp_path / "target.gguf", vocabulary("one", "two"))
    draft = write_draft(tmp_path / "draft.gguf", tokenizer=vocabulary("one", "three"))
    with pytest.raises(ParameterError, match=r"^draft=draft.gguf: token 1 is 'two', of the draft model 'three'"):
        LLM(own, draft=draft)


def test_architectures_without_the_hidden_states(tmp_path):
    keys = {**tiny_metadata("olmo"), "olmo.attention.layer_norm_epsilon": 1e-5}
    with tiny_model(registry.default().architecture("olmo"), keys, "Q8_0", tmp_path) as model:
        path = model.file.path
    with pytest.raises(ParameterError, match="before layer 0, but architecture olmo has more than one vector of 256"):
        LLM(path, draft=write_draft(tmp_path / "draft.gguf"))


def test_a_draft_is_no_model(tmp_path):
    draft = write_draft(tmp_path / "draft.gguf", PERMUTED[:50])
    with pytest.raises(ParameterError, match=r"^draft.gguf is a draft for another model; .* as draft=$"):
        LLM(draft)
    found = {check.name: check.status for check in verify(draft, None, 0.0)}
    assert found == {"file": "ok", "architecture": "ok", "tensors": "ok", "tokenizer": "-", "finite": "-"}


def test_an_output_matrix_of_few_tokens_cannot_be_shared(target, tmp_path):
    draft = write_draft(tmp_path / "whole.gguf", PERMUTED[:50])
    with pytest.raises(TensorError, match=r"^output.weight: draft.gguf has no such tensor, nor a model"):
        LLM(target, draft=rewritten(draft, tmp_path / "draft.gguf", tensors=without_output))


def without_output(name, *data):
    return None if name == "output.weight" else (name, *data)


@pytest.mark.parametrize("tokens", [[0, 1, 1], [0, 288], [-1, 3]])
def test_wrong_tokens(tokens, target, tmp_path):
    with pytest.raises(GGUFError, match="d2t: different tokens from 0 to 287 are needed"):
        LLM(target, draft=write_draft(tmp_path / "draft.gguf", tokens))


def test_wrong_layers(target, tmp_path):
    with pytest.raises(GGUFError, match=r"eagle3\.target_layers: an array of 3 integers >= 0 is needed"):
        LLM(target, draft=write_draft(tmp_path / "draft.gguf", target_layers=[1, 2]))
