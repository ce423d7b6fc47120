"""EAGLE-3 checkpoints of SafeAILab and of speculators become the GGUF files from which they were made."""

import json

import numpy as np
import pytest

from realizar.arch import registry
from realizar.convert import convert
from realizar.errors import GGUFError, ParameterError, TensorError
from realizar.gguf import GGUFFile
from realizar.model import Model
from realizar.runtime.draft_files import draft_tokens
from realizar.testing import N_VOCAB, tiny_metadata, tiny_model
from tests.convert.handmade import LLAMA, SIZES, halves
from tests.eagle import write_draft
from tests.limits.models import rewritten

TOKENS = np.random.default_rng(0).permutation(N_VOCAB)[:200]
LAYER = {**LLAMA, "hidden_norm.weight": "attn_norm_2.weight"}
WHOLE = {"fc.weight": "fc.weight", "norm.weight": "output_norm.weight", "lm_head.weight": "output.weight",
         "embed_tokens.weight": "token_embd.weight"}  # fmt: skip
CONFIG = {**SIZES, "num_hidden_layers": 1, "draft_vocab_size": 200, "rms_norm_eps": 1e-5}
NAMES = {"tokenizer.ggml.model": "gpt2", "tokenizer.ggml.tokens": [f"t{i}" for i in range(N_VOCAB)],
         "tokenizer.ggml.merges": ["t 1"], "tokenizer.ggml.token_type": [1] * N_VOCAB}  # fmt: skip


@pytest.fixture(scope="module")
def target(tmp_path_factory):
    """A model with 8 layers and a tokenizer."""
    folder = tmp_path_factory.mktemp("target")
    keys = {**tiny_metadata("llama"), "llama.block_count": 8}
    with tiny_model(registry.default().architecture("llama"), keys, "Q8_0", folder, optional=False) as model:
        return rewritten(model.file.path, folder / "target.gguf", NAMES)


def arrays_of(path, layer):
    """The tensors of a checkpoint, by name, whose layer has names with this prefix."""
    t = values_of(path)
    own = {name: t[f"blk.0.{source}"] for name, source in LAYER.items()}
    for name, n_head in (("q", 4), ("k", 2)):
        own[f"self_attn.{name}_proj.weight"] = halves(f"blk.0.attn_{name}.weight", n_head)(t.__getitem__)
    own = {layer + name: array for name, array in own.items()}
    return {**own, **{name: t[source] for name, source in WHOLE.items()}}


def values_of(path):
    """The tensors of a draft, with the parts of fused ones, by name."""
    file = GGUFFile(path)
    model = Model(file, registry.default().architecture("eagle3"))
    found = {name.removeprefix("draft."): tensor.floats().copy() for name, tensor in model.tensors.items()}
    model.close()
    return found


def write(folder, arrays, config):
    header, body = {}, b""
    tokens = {"d2t": TOKENS - np.arange(len(TOKENS)), "t2d": np.isin(np.arange(N_VOCAB), TOKENS)}
    for name, array in {**tokens, **arrays}.items():
        kind = {"int64": "I64", "bool": "BOOL", "float32": "F32"}[str(array.dtype)]
        data = np.ascontiguousarray(array).tobytes()
        header[name] = {"dtype": kind, "shape": array.shape, "data_offsets": [len(body), len(body) + len(data)]}
        body += data
    text = json.dumps(header).encode()
    (folder / "model.safetensors").write_bytes(len(text).to_bytes(8, "little") + text + body)
    (folder / "config.json").write_text(json.dumps(config))


LAYOUTS = {
    "SafeAILab": ("midlayer.", {**CONFIG, "architectures": ["LlamaForCausalLMEagle3"]}, [2, 4, 5]),
    "a plain class": ("midlayer.", {**CONFIG, "architectures": ["LlamaForCausalLM"]}, [2, 4, 5]),
    "speculators": (
        "layers.0.",
        {"architectures": ["Eagle3Speculator"], "transformer_layer_config": CONFIG, "norm_before_residual": True,
         "eagle_aux_hidden_state_layer_ids": [1, 3, 6], "draft_vocab_size": 200},
        [1, 3, 6],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", LAYOUTS)
def test_files_of_checkpoints(name, target, tmp_path):
    layer, config, layers = LAYOUTS[name]
    source = write_draft(tmp_path / "source.gguf", TOKENS, "F32")
    write(tmp_path, arrays_of(source, layer), config)
    done = convert(tmp_path, tmp_path / "draft.gguf", "F32", target)
    assert done.unused == ("t2d",)
    with GGUFFile(tmp_path / "draft.gguf") as found:
        assert done.architecture == found.architecture == "eagle3"
        assert list(found.metadata["eagle3.target_layers"]) == layers
        assert found.metadata["eagle3.target_hidden_size"] == 256
        assert found.metadata.get("eagle3.norm_before_residual", False) == (name == "speculators")
        assert list(found.metadata["tokenizer.ggml.tokens"]) == NAMES["tokenizer.ggml.tokens"]
        assert draft_tokens(found, N_VOCAB).tolist() == TOKENS.tolist()
    found, want = values_of(tmp_path / "draft.gguf"), values_of(source)
    assert found.keys() == want.keys() - {"rope_freqs.weight"}
    for tensor, values in found.items():
        np.testing.assert_array_equal(values, want[tensor])


@pytest.mark.parametrize("key", ["fc_norm", "norm_output"])
def test_norms_that_are_not_computed(key, target, tmp_path):
    """Options of EAGLE 3.1, whose tensors or states differ."""
    write(tmp_path, {}, {**CONFIG, "architectures": ["Eagle3Speculator"], key: True})
    with pytest.raises(GGUFError, match=rf"config.json: {key} is True, .* results would be wrong"):
        convert(tmp_path, tmp_path / "draft.gguf", "F32", target)


def test_the_command(target, tmp_path, realizar):
    source = write_draft(tmp_path / "source.gguf", TOKENS, "F32")
    write(tmp_path, arrays_of(source, "midlayer."), LAYOUTS["SafeAILab"][1])
    status, out, err = realizar("convert", str(tmp_path), str(tmp_path / "draft.gguf"), "--target", str(target))
    assert (status, "eagle3, 15 tensors" in out) == (0, True), err


def test_a_target_is_needed_and_only_for_drafts(target, tmp_path):
    write(tmp_path, {}, LAYOUTS["SafeAILab"][1])
    with pytest.raises(ParameterError, match=r"^target=None: .* a draft for another model needs that model's GGUF"):
        convert(tmp_path, tmp_path / "draft.gguf")
    write(tmp_path, {}, {**SIZES, "architectures": ["LlamaForCausalLM"]})
    with pytest.raises(ParameterError, match="no other model has a target"):
        convert(tmp_path, tmp_path / "draft.gguf", target=target)


def test_wrong_tokens(target, tmp_path):
    source = write_draft(tmp_path / "source.gguf", TOKENS, "F32")
    arrays = {**arrays_of(source, "midlayer."), "d2t": np.full(200, 200)}
    write(tmp_path, arrays, LAYOUTS["SafeAILab"][1])
    with pytest.raises(TensorError, match="d2t: its distances give the tokens 200 to 399, 200 different ones of 200"):
        convert(tmp_path, tmp_path / "draft.gguf", "F32", target)
