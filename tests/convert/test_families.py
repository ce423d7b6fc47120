"""Converted tiny random models give the same logits as transformers."""

import json

import numpy as np
import pytest

from realizar import LLM
from realizar.convert import convert
from realizar.errors import GGUFError, ModelNotFoundError, ParameterError, TensorError, UnknownArchitectureError
from realizar.gguf import GGUFFile
from tests.convert.families import FAMILIES, SIZES

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
TOKENS = np.random.default_rng(0).integers(3, SIZES["vocab_size"], 40)


def saved(folder, name):
    """Save a checkpoint with random weights, biases and norms."""
    cls, more = FAMILIES[name]
    kind = getattr(transformers, cls)
    torch.manual_seed(0)
    model = kind(kind.config_class(**{**SIZES, **more})).float().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter.add_(0.1 * torch.randn_like(parameter))
    model.save_pretrained(folder)
    return model


def expected(model):
    """Return the logits (of the decoder, if there is an encoder)."""
    tokens = torch.tensor(TOKENS[None])
    with torch.no_grad():
        if hasattr(model, "decoder"):
            return model(input_ids=tokens, decoder_input_ids=tokens[:, :12]).logits[0].numpy()
        return model(tokens).logits[0].numpy()


def computed(path, model):
    """Return the logits of the converted file."""
    tokens = TOKENS.tolist()
    with LLM(path, activations="f32", kv_type="f32") as llm:
        return llm.logits(tokens, decoder_tokens=tokens[:12] if hasattr(model, "decoder") else None)


@pytest.mark.parametrize("name", FAMILIES)
def test_logits(name, tmp_path):
    model = saved(tmp_path, name)
    unused = convert(tmp_path, tmp_path / "model.gguf", "F32").unused
    assert [tensor for tensor in unused if "visual." not in tensor and "vision_" not in tensor] == []
    found = computed(tmp_path / "model.gguf", model)
    want = expected(model)
    assert np.linalg.norm(found - want) <= 2e-5 * np.linalg.norm(want)


@pytest.mark.parametrize(("type_name", "bound"), [("F16", 2e-3), ("BF16", 2e-2), ("Q8_0", 3e-2)])
def test_types(type_name, bound, tmp_path, realizar):
    model = saved(tmp_path, "llama")
    path = tmp_path / "model.gguf"
    status, out, err = realizar("convert", str(tmp_path), str(path), "--type", type_name)
    assert (status, out.split()[1]) == (0, "llama,")
    assert "no tokenizer" in err
    with GGUFFile(path) as file:
        assert {t.type.name for t in file.tensors.values()} == {"F32", type_name}
    with LLM(path, activations="f32", kv_type="f32") as llm:
        found = llm.logits(TOKENS.tolist())
    want = expected(model)
    assert np.linalg.norm(found - want) <= bound * np.linalg.norm(want)


def test_sharded_bfloat16(tmp_path):
    model = saved(tmp_path, "qwen2").bfloat16()
    (tmp_path / "model.safetensors").unlink()
    model.save_pretrained(tmp_path, max_shard_size="60KB")
    assert len(list(tmp_path.glob("model-*.safetensors"))) > 1
    convert(tmp_path, tmp_path / "model.gguf", "BF16")
    with LLM(tmp_path / "model.gguf", activations="f32", kv_type="f32") as llm:
        found = llm.logits(TOKENS.tolist())
    want = expected(model.float())
    assert np.linalg.norm(found - want) <= 2e-5 * np.linalg.norm(want)


def changed(folder, **keys):
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **keys}))


def test_errors_name_the_cause(tmp_path):
    out = tmp_path / "model.gguf"
    with pytest.raises(ModelNotFoundError, match=r"config\.json"):
        convert(tmp_path, out)
    saved(tmp_path, "llama")
    with pytest.raises(ParameterError, match="Q4_K"):
        convert(tmp_path, out, "Q4_K")
    changed(tmp_path, num_hidden_layers=4)
    with pytest.raises(TensorError, match=r"blk\.3\.attn_norm\.weight.*layers\.3\.input_layernorm"):
        convert(tmp_path, out)
    changed(tmp_path, num_hidden_layers=3, intermediate_size=80)
    with pytest.raises(TensorError, match=r"ffn_gate\.weight.*\(80, 64\).*\(96, 64\)"):
        convert(tmp_path, out)
    changed(tmp_path, architectures=["ZebraForCausalLM"])
    with pytest.raises(UnknownArchitectureError, match=r"Zebra.*LlamaForCausalLM"):
        convert(tmp_path, out)
    assert not out.exists()


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda b: b[:4], "too short for a safetensors file"),
        (lambda b: b[:200], "header needs"),
        (lambda b: b[:-100], "truncated"),
        (lambda b: b[:8] + b"x" + b[9:], "header"),
        (lambda b: b.replace(b'"F32"', b'"F8 "', 1), "of type"),
    ],
)
def test_damaged_weights(damage, says, tmp_path):
    saved(tmp_path, "llama")
    path = tmp_path / "model.safetensors"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(GGUFError, match=says):
        convert(tmp_path, tmp_path / "model.gguf")


def test_config_that_does_not_match_a_split_tensor(tmp_path):
    saved(tmp_path, "deepseek2")
    changed(tmp_path, v_head_dim=17)
    with pytest.raises(TensorError, match="cannot be made from"):
        convert(tmp_path, tmp_path / "model.gguf")


def test_phimoe(tmp_path, realizar):
    """Only the file's content is tested: we follow llama.cpp, whose computation differs from transformers'."""
    kind = transformers.PhimoeForCausalLM
    experts = {"num_local_experts": 4, "num_experts_per_tok": 2, "attention_bias": True, "lm_head_bias": True}
    model = kind(kind.config_class(**SIZES, **experts))
    model.save_pretrained(tmp_path)
    assert convert(tmp_path, tmp_path / "model.gguf", "F32").unused == ()
    status, out, _ = realizar("verify", str(tmp_path / "model.gguf"))
    assert status == 0, out
    with GGUFFile(tmp_path / "model.gguf") as file:
        found = file.data("blk.1.ffn_up_exps.weight").view(np.float32).reshape(4, 96, 64)
    want = model.state_dict()["model.layers.1.mlp.experts.gate_up_proj"].numpy()
    np.testing.assert_array_equal(found, want[:, 96:])


def test_experts_in_mxfp4(tmp_path):
    """As published for gpt-oss; transformers dequantizes them the same way."""
    from safetensors.numpy import load_file, save_file

    unpack = pytest.importorskip("transformers.integrations.mxfp4").convert_moe_packed_tensors
    model = saved(tmp_path, "gpt-oss")
    arrays, rng = load_file(tmp_path / "model.safetensors"), np.random.default_rng(0)
    for name in [name for name in arrays if name.endswith("_proj") and "experts" in name]:
        n_expert, n_in, n_out = arrays.pop(name).shape
        blocks = rng.integers(0, 256, (n_expert, n_out, n_in // 32, 16), np.uint8)
        scales = rng.integers(117, 122, blocks.shape[:-1], np.uint8)
        arrays |= {f"{name}_blocks": blocks, f"{name}_scales": scales}
        floats = unpack(torch.tensor(blocks), torch.tensor(scales), dtype=torch.float32)
        model.get_parameter(name).data.copy_(floats.reshape(n_expert, n_in, n_out))
    save_file(arrays, tmp_path / "model.safetensors")
    assert convert(tmp_path, tmp_path / "model.gguf", "F32").unused == ()
    with LLM(tmp_path / "model.gguf", activations="f32", kv_type="f32") as llm:
        found = llm.logits(TOKENS.tolist())
    want = expected(model)
    assert np.linalg.norm(found - want) <= 2e-5 * np.linalg.norm(want)
