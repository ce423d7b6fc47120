"""Multi-token prediction blocks count in block_count but are not layers."""

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
    """A copy with one draft block more: the tensors of a layer and those of its input."""
    with GGUFFile(source) as file:
        block = [name for name in file.tensors if name.startswith("blk.1.")]
        more = {name.replace("blk.1.", "blk.2."): np.ones(file.tensors[name].shape) for name in block}
    more["blk.2.nextn.eh_proj.weight"] = np.ones((256, 512))
    keys = {"block_count": 3, "nextn_predict_layers": 1, **changes}
    return rewritten(source, target, {f"llama.{key}": value for key, value in keys.items()}, more=more)


def test_draft_block_is_not_a_layer(llama, tmp_path):
    path = with_draft(llama, tmp_path / "m.gguf")
    model = load(path)
    assert model.hp.n_layer == 2
    model.close()
    np.testing.assert_array_equal(logits(path), logits(llama))


@pytest.mark.parametrize("n", [2, 3])
def test_per_layer_arrays_with_or_without_the_draft_block(n, llama, tmp_path):
    heads = np.array([2, 2, 4][:n], np.int32)
    path = with_draft(llama, tmp_path / "m.gguf", **{"attention.head_count_kv": heads})
    np.testing.assert_array_equal(logits(path), logits(llama))


@pytest.mark.parametrize("n", [-1, 3, True, "one"])
def test_more_draft_blocks_than_blocks(n, llama, tmp_path):
    path = with_draft(llama, tmp_path / "m.gguf", nextn_predict_layers=n)
    with pytest.raises(GGUFError, match=r"llama\.nextn_predict_layers: an integer"):
        load(path)


def test_layer_is_not_a_draft_block(llama, tmp_path):
    """The last block has the tensors of a layer only: the key is wrong, and skipping the block would be an error."""
    path = rewritten(llama, tmp_path / "m.gguf", {"llama.nextn_predict_layers": 1})
    with pytest.raises(TensorError, match=r"^llama\.nextn_predict_layers = 1 makes block 1 .* no tensor blk\.1\.nextn"):
        load(path)
    failed = [check for check in verify(path, None, 0.0) if check.status == "FAILED"]
    assert failed[0].says.startswith("llama.nextn_predict_layers = 1 makes block 1")


def test_draft_block_may_be_missing(llama, tmp_path):
    path = rewritten(llama, tmp_path / "m.gguf", {"llama.block_count": 3, "llama.nextn_predict_layers": 1})
    np.testing.assert_array_equal(logits(path), logits(llama))


@needs_shared
def test_against_llama_cpp():
    """A DeepSeek file as converters write it; with the draft block as a layer, the error would be 0.45.

    The reference quantized activations to int8, which alone changes the logits by 0.019; llama.cpp agrees to 5e-7 for
    the same weights in float32.
    """
    faults = SHARED / "faults"
    tokens = json.loads((faults / "deepseek2-nextn.json").read_text())["tokens"]
    want = np.load(faults / "deepseek2-nextn.llamacpp.npy")
    with LLM(faults / "deepseek2-nextn.gguf", activations="f32", kv_type="f32") as llm:
        assert relative_error(llm.logits(tokens), want) <= 0.02
