"""Tensors that the architecture does not use are an error, unless they are known to be unnecessary."""

import json
import struct

import numpy as np
import pytest

from realizar.convert import convert
from realizar.errors import ModelNotFoundError, TensorError
from realizar.gguf import GGUFFile

CONFIG = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "num_hidden_layers": 1, "hidden_size": 32,
    "intermediate_size": 64, "num_attention_heads": 2, "num_key_value_heads": 1, "vocab_size": 48,
    "max_position_embeddings": 64, "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "tie_word_embeddings": True,
}  # fmt: skip
LAYER = {
    "input_layernorm": (32,), "self_attn.q_proj": (32, 32), "self_attn.k_proj": (16, 32), "self_attn.v_proj": (16, 32),
    "self_attn.o_proj": (32, 32), "post_attention_layernorm": (32,), "mlp.gate_proj": (64, 32),
    "mlp.up_proj": (64, 32), "mlp.down_proj": (32, 64),
}  # fmt: skip
SHAPES = {
    "model.embed_tokens.weight": (48, 32),
    "model.norm.weight": (32,),
    **{f"model.layers.0.{name}.weight": shape for name, shape in LAYER.items()},
}


def checkpoint(folder, *more, **config):
    """Write a tiny Llama to one safetensors file, with additional tensors."""
    header, data = {}, b""
    for name, shape in {**SHAPES, **dict.fromkeys(more, (2,))}.items():
        values = np.ones(shape, np.float32).tobytes()
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [len(data), len(data) + len(values)]}
        data += values
    text = json.dumps(header).encode()
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + data)
    (folder / "config.json").write_text(json.dumps({**CONFIG, **config}))
    return folder


def test_gate_and_up_are_not_fused(tmp_path):
    """As llama.cpp expects them, although GGUF files may contain them fused."""
    convert(checkpoint(tmp_path), tmp_path / "m.gguf")
    with GGUFFile(tmp_path / "m.gguf") as file:
        assert {"blk.0.ffn_gate.weight", "blk.0.ffn_up.weight", "blk.0.attn_q.weight"} <= set(file.tensors)
        assert file.tensors["blk.0.ffn_up.weight"].shape == (64, 32)


@pytest.mark.parametrize(
    "name",
    ["model.layers.0.self_attn.q_norm.weight", "model.layers.1.input_layernorm.weight", "lm_head.bias", "score.weight"],
)
def test_unknown_tensor(name, tmp_path):
    with pytest.raises(TensorError, match=rf"^{name}: .* architecture llama does not know"):
        convert(checkpoint(tmp_path, name), tmp_path / "m.gguf")
    assert not (tmp_path / "m.gguf").exists()


@pytest.mark.parametrize(
    ("name", "config"),
    [
        ("model.layers.0.self_attn.rotary_emb.inv_freq", {}),
        ("lm_head.weight", {}),
        ("vision_tower.patch_embed.weight", {}),
        ("model.layers.1.eh_proj.weight", {"num_nextn_predict_layers": 1}),
    ],
)
def test_unnecessary_tensors(name, config, tmp_path, realizar):
    path = tmp_path / "m.gguf"
    assert convert(checkpoint(tmp_path, name, **config), path).unused == (name,)
    status, _, err = realizar("convert", str(tmp_path), str(path))
    assert status == 0
    assert f"1 tensors are not used by llama: {name}" in err


def test_untied_output_matrix(tmp_path):
    """The output matrix is then required."""
    with pytest.raises(TensorError, match=r"output\.weight"):
        convert(checkpoint(tmp_path, "lm_head.weight", tie_word_embeddings=False), tmp_path / "m.gguf")


def test_file_instead_of_folder(tmp_path, realizar):
    given = tmp_path / "given.gguf"
    given.write_bytes(b"GGUF")
    with pytest.raises(
        ModelNotFoundError, match=r"given\.gguf: needs a Hugging Face model folder .*, but this is a file"
    ):
        convert(given, tmp_path / "m.gguf")
    status, _, err = realizar("convert", str(given), str(tmp_path / "m.gguf"))
    assert status == 1
    assert "given.gguf: needs a Hugging Face model folder with config.json" in err
    with pytest.raises(
        ModelNotFoundError, match=r"config\.json: no such file; convert needs a Hugging Face model folder"
    ):
        convert(tmp_path / "missing", tmp_path / "m.gguf")
