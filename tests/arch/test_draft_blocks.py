"""Draft blocks: the conformance of every architecture that has one, and the numbers of llama.cpp."""

import json
from pathlib import Path

import numpy as np
import pytest

from realizar import LLM, SamplingParams
from realizar.arch import registry
from realizar.arch.drafts import HIDDEN
from realizar.errors import ParameterError
from realizar.gguf import GGUFFile
from realizar.model import load
from realizar.runtime.draft_files import input_of_layer
from realizar.testing import Session, check_architecture, random_tokens, relative_error, tiny_metadata, tiny_model
from tests.arch.test_deepseek import LATENT
from tests.arch.test_recurrent import DELTA, SHARED
from tests.arch.test_sparse import SPARSE
from tests.isa import LEVELS
from tests.limits.models import rewritten
from tests.shared import SHARED as FILES
from tests.shared import needs_shared

EXPERTS = {**SHARED, "leading_dense_block_count": 1, "expert_shared_count": 1}
SIZES = {
    "qwen35": DELTA,
    "qwen35moe": {**DELTA, **SHARED},
    "glm4moe": EXPERTS,
    "deepseek2": LATENT,
    "deepseek32": SPARSE,
    "hy_v3": {**EXPERTS, "leading_dense_block_count": 0},
    "step35": {
        **EXPERTS, "attention.head_count": [2, 4, 2], "attention.head_count_kv": [1, 2, 2], "attention.key_length": 64,
        "attention.value_length": 64, "attention.sliding_window": 16, "leading_dense_block_count": 0,
        "attention.sliding_window_pattern": [False, True, True], "swiglu_clamp_exp": [0.5, 0.0, 0.0],
    },
    "mimo2": {
        **EXPERTS, "attention.head_count": [4, 4, 4], "attention.head_count_kv": [1, 2, 4], "attention.key_length": 64,
        "attention.value_length": 32, "attention.value_scale": 0.7, "attention.sliding_window": 16,
        "rope.dimension_count": 32, "attention.sliding_window_pattern": [False, True, True],
        "expert_shared_count": 0, "leading_dense_block_count": 0,
    },
}  # fmt: skip
# What a file needs so that its only layer is like the draft block.
ALONE = {"leading_dense_block_count": 0, "full_attention_interval": 1}
GOLDEN = Path(__file__).parents[1] / "fixtures" / "draft_blocks.npz"
CASES = {
    "qwen35_mtp": "parity2026/qwen35_mtp/model-q8_0.gguf",
    "glm4moe": "parity2026/glm4moe/model-q8_0.gguf",
    "deepseek2": "faults/deepseek2-nextn.gguf",
}


def sizes_of(name):
    sizes = SIZES["qwen35moe" if name == "qwen3next" else name]
    return {f"{name}.{k}": v for k, v in {**sizes, "block_count": 3, "nextn_predict_layers": 1}.items()}


@pytest.mark.parametrize("name", [*SIZES, "qwen3next"])
def test_conformance(name):
    check_architecture(registry.default().architecture(name), sizes_of(name), types=("Q8_0",), isa_levels=LEVELS)


def alone(source, target, name):
    """Write a model whose only layer is the draft block of another one."""
    changes = {f"{name}.{key}": n for key, n in {"block_count": 1, "nextn_predict_layers": 0, **ALONE}.items()}
    with GGUFFile(source) as file:
        kept = {key: n for key, n in changes.items() if key in file.metadata}
        kept |= {key: list(n[2:]) for key, n in file.metadata.items() if isinstance(n, np.ndarray) and len(n) == 3}
        own = {tensor for tensor in file.tensors if tensor.startswith("blk.2.")}

    def renamed(tensor, *data):
        head = {
            "nextn.shared_head_norm.weight": "output_norm.weight",
            "layer_output_norm.weight": "output_norm.weight",  # of mimo2
            "nextn.shared_head_head.weight": "output.weight",
        }
        replaced = [new for old, new in head.items() if f"blk.2.{old}" in own]
        last = tensor.removeprefix("blk.2.")
        if tensor in own and (not last.startswith("nextn.") or last in head):
            return (head.get(last, f"blk.0.{last}"), *data)
        return None if tensor.startswith("blk.") or tensor in replaced else (tensor, *data)

    return rewritten(source, target, kept, renamed)


@pytest.mark.parametrize("optional", [True, False])
@pytest.mark.parametrize("name", SIZES)
def test_by_the_equations(name, optional, tmp_path):
    """The projection in float64, and the layer as the only one of a decoder, which parity cases compare."""
    metadata = {**tiny_metadata(name), **sizes_of(name)}
    with tiny_model(registry.default().architecture(name), metadata, "Q8_0", tmp_path, optional=optional) as model:
        tokens, path, eps = random_tokens(20), model.file.path, model.hp.norm_eps
        states = np.random.default_rng(0).standard_normal((20, 256), np.float32)
        exact = {"activations": "f32", "kv_type": "f32"}
        found = Session(model, model.plan("draft"), **exact).step([(0, 0, tokens)], {HIDDEN: states})
        t = {tensor: view.floats().astype(np.float64) for tensor, view in model.tensors.items()}
    embedded = t.get("blk.2.nextn.embed_tokens.weight", t["token_embd.weight"])[tokens]
    normed = [
        x / np.sqrt((x * x).mean(1, keepdims=True) + eps) * t[f"blk.2.nextn.{norm}.weight"]
        for x, norm in ((embedded, "enorm"), (states.astype(np.float64), "hnorm"))
    ]
    x = np.concatenate(normed, axis=1) @ t["blk.2.nextn.eh_proj.weight"].T
    only = load(alone(path, tmp_path / "alone.gguf", name))
    rows = {"embeddings": x.astype(np.float32), "embedding_rows": np.arange(20, dtype=np.int32)}
    state = input_of_layer(only.graphs["decode"], 1, 1, 256) if only.architecture.draft_before_norm else only.hidden
    want = Session(only, only.plan(None, ["logits", state]), **exact).step([(0, 0, [0] * 20)], **rows)
    assert relative_error(found["logits"], want["logits"]) <= 2e-5
    assert relative_error(found["hidden"], want[state]) <= 2e-5
    only.close()


def tokens_of(path):
    if path.parent.name == "faults":
        return json.loads(path.with_suffix(".json").read_text())["tokens"]
    return np.load(path.parent / "golden.npz")["tokens"].tolist()


@needs_shared
@pytest.mark.parametrize("case", CASES)
def test_against_llama_cpp(case):
    """Made by llama.cpp 0c1e570 (a context of type LLAMA_CONTEXT_TYPE_MTP) from dequantized weights, rounded to 2^-14.

    Row t read token t and the hidden state that llama.cpp's own decoder gave for token t - 1, zeros before the first.
    """
    path = FILES / CASES[case]
    tokens, golden = tokens_of(path), np.load(GOLDEN)
    model = load(path, has_draft=True)
    try:
        exact = {"activations": "f32", "kv_type": "f32"}
        hidden = Session(model, model.plan(None, [model.hidden]), **exact).prompt(tokens, len(tokens))[model.hidden]
        before = np.vstack([np.zeros_like(hidden[:1]), hidden[:-1]])
        found = Session(model, model.plan("draft"), **exact).step([(0, 0, tokens)], {HIDDEN: before})
        for name in ("logits", "hidden"):
            assert relative_error(found[name], golden[f"{case}.{name}"]) <= 2e-5
    finally:
        model.close()


@needs_shared
@pytest.mark.parametrize("case", CASES)
def test_completions_are_the_same(case):
    params = SamplingParams(temperature=0.0, max_tokens=16, ignore_eos=True, logprobs=1)
    found = []
    for speculate in (None, "mtp"):
        with LLM(FILES / CASES[case], n_ctx=128, speculate=speculate) as llm:
            found.append([c.logprobs for c in llm.generate([[1, 2, 3], [4] * 40], params)])
    assert found[0] == found[1]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Paths of tiny models: with a draft block, and of an architecture that computes none."""
    folder, made = tmp_path_factory.mktemp("drafts"), {}
    for name, keys in (("qwen35", sizes_of("qwen35")), ("llama", {})):
        metadata = {**tiny_metadata(name), **keys}
        with tiny_model(registry.default().architecture(name), metadata, "Q8_0", folder, optional=False) as model:
            made[name] = model.file.path
    return made


def test_the_draft_block_is_loaded_only_if_it_is_asked_for(files):
    model = load(files["qwen35"])
    assert list(model.graphs) == ["decode"]
    assert not any(name.startswith("blk.2.") for name in model.tensors)
    assert [at.layer for group in model.plan().cache_groups for at in group.layers] == [1]
    model.close()
    model = load(files["qwen35"], has_draft=True)
    assert list(model.graphs) == ["decode", "draft"]
    for program in model.graphs:
        assert [at.layer for group in model.plan(program).cache_groups for at in group.layers] == [1, 2]
    model.close()


def test_files_without_a_draft_block(files, tmp_path):
    with pytest.raises(ParameterError, match=r"speculate='mtp': .* no draft block \(the key llama\.nextn_pre"):
        LLM(files["llama"], speculate="mtp")
    stripped = rewritten(files["llama"], tmp_path / "m.gguf", {"llama.block_count": 3, "llama.nextn_predict_layers": 1})
    with pytest.raises(ParameterError, match=r"is 1, but it has no tensor blk\.2\.nextn\.eh_proj.*ngram"):
        LLM(stripped, speculate="mtp")


def test_an_architecture_that_computes_none(files, tmp_path):
    """The error names the other kinds of speculative decoding."""
    block = {f"blk.2.{name}": np.ones((256, 256)) for name in ("attn_output.weight",)}
    more = {**block, "blk.2.nextn.eh_proj.weight": np.ones((256, 512))}
    keys = {"llama.block_count": 3, "llama.nextn_predict_layers": 1}
    path = rewritten(files["llama"], tmp_path / "m.gguf", keys, more=more)
    with pytest.raises(ParameterError, match=r"llama does not compute the draft block .*'ngram', or draft="):
        LLM(path, speculate="mtp")
