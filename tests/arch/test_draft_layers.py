"""Blocks that only draft tokens (multi-token prediction) are counted by block_count and are no layers."""

import json

import numpy as np
import pytest

from realizar import LLM
from realizar.arch import registry
from realizar.cli.checks import verify
from realizar.errors import GGUFError, TensorError
from realizar.gguf import GGUFFile
from realizar.model import load
from realizar.testing import Session, random_tokens, relative_error, tiny_metadata, tiny_model
from tests.limits.models import rewritten
from tests.shared import SHARED, needs_shared


def logits(path):
    model = load(path)
    try:
        return Session(model, model.plan()).prompt(random_tokens(), 48)["logits"]
    finally:
        model.close()


@pytest.fixture(scope="module")
def llama(tmp_path_factory):
    folder = tmp_path_factory.mktemp("draft")
    with tiny_model(registry.default().architecture("llama"), tiny_metadata("llama"), "Q8_0", folder, optional=False):
        return folder / "llama-Q8_0-False.gguf"


def with_draft(source, target, **changes):
    """A copy with one more block, which is that of a draft: a layer's tensors and those that lead into it."""
    with GGUFFile(source) as file:
        block = [name for name in file.tensors if name.startswith("blk.1.")]
        more = {name.replace("blk.1.", "blk.2."): np.ones(file.tensors[name].shape) for name in block}
    more["blk.2.nextn.eh_proj.weight"] = np.ones((256, 512))
    keys = {"block_count": 3, "nextn_predict_layers": 1, **changes}
    return rewritten(source, target, {f"llama.{key}": value for key, value in keys.items()}, more=more)


def test_a_draft_block_is_no_layer(llama, tmp_path):
    path = with_draft(llama, tmp_path / "m.gguf")
    model = load(path)
    assert model.hp.n_layer == 2
    model.close()
    np.testing.assert_array_equal(logits(path), logits(llama))


@pytest.mark.parametrize("n", [2, 3])
def test_arrays_may_count_it_or_not(n, llama, tmp_path):
    heads = np.array([2, 2, 4][:n], np.int32)
    path = with_draft(llama, tmp_path / "m.gguf", **{"attention.head_count_kv": heads})
    np.testing.assert_array_equal(logits(path), logits(llama))


@pytest.mark.parametrize("n", [-1, 3, True, "one"])
def test_more_drafts_than_blocks(n, llama, tmp_path):
    path = with_draft(llama, tmp_path / "m.gguf", nextn_predict_layers=n)
    with pytest.raises(GGUFError, match=r"llama\.nextn_predict_layers: an integer"):
        load(path)


def test_a_layer_is_no_draft_block(llama, tmp_path):
    """The last block has a layer's tensors alone: the key is wrong, and without the block the answers would be."""
    path = rewritten(llama, tmp_path / "m.gguf", {"llama.nextn_predict_layers": 1})
    with pytest.raises(TensorError, match=r"^llama\.nextn_predict_layers = 1 makes block 1 .* no tensor blk\.1\.nextn"):
        load(path)
    failed = [check for check in verify(path, None, 0.0) if check.status == "FAILED"]
    assert failed[0].says.startswith("llama.nextn_predict_layers = 1 makes block 1")


def test_a_draft_block_may_be_taken_out(llama, tmp_path):
    path = rewritten(llama, tmp_path / "m.gguf", {"llama.block_count": 3, "llama.nextn_predict_layers": 1})
    np.testing.assert_array_equal(logits(path), logits(llama))


@needs_shared
def test_against_llama_cpp():
    """A DeepSeek file as converters write it; computed with the block of the draft it is off by 0.45.

    The reference rounded activations to int8, which alone moves the logits by 0.019; a file of the same weights in
    float32, computed by llama.cpp, agrees to 5e-7.
    """
    faults = SHARED / "faults"
    tokens = json.loads((faults / "deepseek2-nextn.json").read_text())["tokens"]
    want = np.load(faults / "deepseek2-nextn.llamacpp.npy")
    with LLM(faults / "deepseek2-nextn.gguf", activations="f32", kv_type="f32") as llm:
        assert relative_error(llm.logits(tokens), want) <= 0.02
