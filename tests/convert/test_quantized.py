"""Handmade quantized checkpoints: the same file as from dequantized weights, or an error that names the scheme."""

import json

import numpy as np
import pytest

from realizar.convert import convert
from realizar.convert.safetensors import float8_values
from realizar.errors import TensorError
from realizar.gguf import GGUFFile

N_EMBD, N_FF, N_VOCAB, N_KV = 64, 96, 40, 32
CONFIG = {
    "architectures": ["LlamaForCausalLM"], "hidden_size": N_EMBD, "intermediate_size": N_FF, "num_hidden_layers": 1,
    "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": N_VOCAB, "max_position_embeddings": 64,
    "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip
LINEAR = {
    "self_attn.q_proj": (N_EMBD, N_EMBD), "self_attn.k_proj": (N_KV, N_EMBD), "self_attn.v_proj": (N_KV, N_EMBD),
    "self_attn.o_proj": (N_EMBD, N_EMBD), "mlp.gate_proj": (N_FF, N_EMBD), "mlp.up_proj": (N_FF, N_EMBD),
    "mlp.down_proj": (N_EMBD, N_FF),
}  # fmt: skip
PLAIN = {
    "model.embed_tokens.weight": (N_VOCAB, N_EMBD), "lm_head.weight": (N_VOCAB, N_EMBD),
    "model.norm.weight": (N_EMBD,), "model.layers.0.input_layernorm.weight": (N_EMBD,),
    "model.layers.0.post_attention_layernorm.weight": (N_EMBD,),
}  # fmt: skip
TYPES = {"f4": "F32", "f2": "F16", "i1": "I8", "u1": "U8", "i4": "I32", "i8": "I64"}


def save(folder, tensors, **config):
    """Write a checkpoint of arrays, or of (type, uint8 codes) for 8-bit floats."""
    folder.mkdir()
    header, body = {}, b""
    for name, value in tensors.items():
        kind, array = value if isinstance(value, tuple) else (TYPES[value.dtype.str[1:]], value)
        data = np.ascontiguousarray(array).tobytes()
        offsets = [len(body), len(body) + len(data)]
        header[name] = {"dtype": kind, "shape": list(array.shape), "data_offsets": offsets}
        body += data
    text = json.dumps(header).encode()
    (folder / "model.safetensors").write_bytes(len(text).to_bytes(8, "little") + text + body)
    (folder / "config.json").write_text(json.dumps({**CONFIG, **config}))
    return folder


def compressed(kind="int-quantized", strategy="channel", **weights):
    weights = {"num_bits": 8, "type": "int", "strategy": strategy, "symmetric": True, **weights}
    group = {"targets": ["Linear"], "weights": weights, "input_activations": None}
    return {"quant_method": "compressed-tensors", "format": kind, "config_groups": {"group_0": group}}


def scale_shape(shape, block):
    """Return the shape of scales per tensor, row or quantization block."""
    if block in ("tensor", "0-d"):
        return (1,) if block == "tensor" else ()
    if block in ("row", "row, 1-d"):
        return (shape[0], 1) if block == "row" else shape[:1]
    return -(-shape[0] // block[0]), -(-shape[1] // block[1])


def spread(scale, shape, block):
    if isinstance(block, str):
        return scale.reshape(-1, 1) if scale.size > 1 else scale.reshape(1, 1)
    wide = np.kron(scale, np.ones(block, np.float32))
    return wide[: shape[0], : shape[1]]


# (config.json, type of the weights, suffix of the scales, type of the scales, block shape)
CASES = {
    "compressed-tensors int8, rows": (compressed(), "I8", "_scale", "F32", "row"),
    "compressed-tensors int8, half scales": (compressed(), "I8", "_scale", "F16", "row"),
    "compressed-tensors int8, tensors": (compressed(strategy="tensor"), "I8", "_scale", "F32", "tensor"),
    "compressed-tensors int8, groups": (compressed(strategy="group", group_size=32), "I8", "_scale", "F32", (1, 32)),
    "compressed-tensors int8, naive": (compressed("naive-quantized"), "I8", "_scale", "F32", "row, 1-d"),
    "compressed-tensors int8, zero points": (compressed(symmetric=False), "I8", "_scale", "F32", "row"),
    "compressed-tensors float8": (compressed("float-quantized", type="float"), "F8_E4M3", "_scale", "F32", "row"),
    "compressed-tensors float8, blocks": (
        compressed("float-quantized", "block", type="float", block_structure=[16, 32]), "F8_E4M3", "_scale", "F32",
        (16, 32),
    ),
    "fp8 as DeepSeek V3": (
        {"quant_method": "fp8", "fmt": "e4m3", "activation_scheme": "dynamic", "weight_block_size": [40, 40]},
        "F8_E4M3", "_scale_inv", "F32", (40, 40),
    ),
    "fp8 with powers of two": (
        {"quant_method": "fp8", "scale_fmt": "ue8m0", "weight_block_size": [32, 32]}, "F8_E4M3", "_scale_inv",
        "F8_E8M0", (32, 32),
    ),
    "fp8 of whole tensors": (
        {"quant_method": "fp8", "activation_scheme": "static", "weight_block_size": None}, "F8_E4M3", "_scale_inv",
        "F32", "0-d",
    ),
    "fp8 e5m2": ({"quant_method": "fp8"}, "F8_E5M2", "_scale_inv", "F32", "0-d"),
    "fbgemm": ({"quant_method": "fbgemm_fp8", "activation_scale_ub": 1200.0}, "F8_E4M3", "_scale", "F32", "row"),
    "modelopt": ({"quant_method": "modelopt", "quant_algo": "FP8"}, "F8_E4M3", "_scale", "F32", "0-d"),
}  # fmt: skip


def made(config, weight_type, suffix, scale_type, block):
    """Return the tensors of a quantized checkpoint, and the dequantized ones."""
    rng = np.random.default_rng(0)
    tensors = {name: rng.standard_normal(shape, np.float32) for name, shape in PLAIN.items()}
    numbers = dict(tensors)
    for short, shape in LINEAR.items():
        name = f"model.layers.0.{short}.weight"
        codes = rng.integers(0, 120, shape, np.uint8) | rng.integers(0, 2, shape, np.uint8) << 7
        values = codes.view(np.int8) if weight_type == "I8" else float8_values(weight_type)[codes]
        tensors[name] = values if weight_type == "I8" else (weight_type, codes)
        values = values.astype(np.float32)
        if "symmetric" in str(config) and not config["config_groups"]["group_0"]["weights"]["symmetric"]:
            zero = rng.integers(-20, 20, scale_shape(shape, block)).astype(np.int8)
            tensors[name + "_zero_point"] = zero
            values = values - spread(zero.astype(np.float32), shape, block)
        if scale_type == "F8_E8M0":
            power = rng.integers(120, 126, scale_shape(shape, block)).astype(np.uint8)
            tensors[name + suffix], scale = (scale_type, power), np.exp2(power.astype(np.float32) - 127)
        else:
            scale = rng.uniform(1e-3, 1e-2, scale_shape(shape, block)).astype({"F32": "f4", "F16": "f2"}[scale_type])
            tensors[name + suffix] = np.asarray(scale)
        numbers[name] = values * spread(np.asarray(scale, np.float32), shape, block)
    return tensors, numbers


def contents(path):
    with GGUFFile(path) as file:
        return {name: (info.shape, info.type, file.data(name).tobytes()) for name, info in file.tensors.items()}


@pytest.mark.parametrize("name", CASES)
def test_same_file_as_from_dequantized_weights(name, tmp_path):
    tensors, numbers = made(*CASES[name])
    quantized = save(tmp_path / "quantized", tensors, quantization_config=CASES[name][0])
    plain = save(tmp_path / "plain", numbers)
    assert convert(quantized, tmp_path / "a.gguf", "F32").unused == ()
    convert(plain, tmp_path / "b.gguf", "F32")
    assert contents(tmp_path / "a.gguf") == contents(tmp_path / "b.gguf")


def test_float8_values():
    e4m3, e5m2, e8m0 = (float8_values(f"F8_{name}") for name in ("E4M3", "E5M2", "E8M0"))
    assert e4m3[[0x00, 0x01, 0x08, 0x38, 0x7E, 0xFE, 0xB8]].tolist() == [0, 2**-9, 2**-6, 1, 448, -448, -1]
    assert np.isnan(e4m3).nonzero()[0].tolist() == [0x7F, 0xFF]
    assert e5m2[[0x00, 0x01, 0x3C, 0x7B, 0x7C, 0xBC]].tolist() == [0, 2**-16, 1, 57344, np.inf, -1]
    assert e8m0[[0, 126, 127, 254]].tolist() == [2.0**-127, 0.5, 1, 2.0**127]
    assert np.isnan(e8m0).nonzero()[0].tolist() == [255]


def test_float8_values_match_torch():
    torch = pytest.importorskip("torch")
    codes = torch.arange(256, dtype=torch.uint8)
    for name, dtype in (("E4M3", "float8_e4m3fn"), ("E5M2", "float8_e5m2"), ("E8M0", "float8_e8m0fnu")):
        want = codes.view(getattr(torch, dtype)).float().numpy()
        np.testing.assert_array_equal(float8_values(f"F8_{name}"), want)


REFUSED = {
    "gptq": {"quant_method": "gptq", "bits": 4, "group_size": 128},
    "awq": {"quant_method": "awq", "bits": 4, "version": "gemm"},
    "bitsandbytes": {"quant_method": "bitsandbytes", "load_in_8bit": True},
    "torchao": {"quant_method": "torchao", "quant_type": "int4_weight_only"},
    "None": {"load_in_4bit": True},
    "pack-quantized": compressed("pack-quantized", "group", num_bits=4, group_size=128),
    "nvfp4-pack-quantized": compressed("nvfp4-pack-quantized", "tensor_group", num_bits=4, group_size=16),
    "4 bits": compressed(num_bits=4),
    "strategy token": compressed(strategy="token"),
    "sparsity_config": {**compressed(), "sparsity_config": {"format": "sparse-24-bitmask"}},
    "transform_config": {**compressed(), "transform_config": {"config_groups": {"R1": {"type": "hadamard"}}}},
    "expert_dtype 'fp4'": {"quant_method": "fp8", "expert_dtype": "fp4"},
    "weight_block_size|not in the format of": {"quant_method": "fp8", "weight_block_size": [128]},
    "config_groups": {"quant_method": "compressed-tensors", "format": "int-quantized"},
    "NVFP4": {"quant_method": "modelopt", "quant_algo": "NVFP4"},
}


@pytest.mark.parametrize("name", REFUSED)
def test_unsupported_schemes_are_named(name, tmp_path):
    tensors, _ = made(*CASES["compressed-tensors int8, rows"])
    folder = save(tmp_path / "checkpoint", tensors, quantization_config=REFUSED[name])
    with pytest.raises(TensorError, match=name):
        convert(folder, tmp_path / "model.gguf")
    assert not (tmp_path / "model.gguf").exists()


def test_config_in_other_places(tmp_path):
    tensors, _ = made(*CASES["compressed-tensors int8, rows"])
    folder = save(tmp_path / "older", tensors, compression_config=compressed())
    assert convert(folder, tmp_path / "model.gguf").unused == ()
    folder = save(tmp_path / "inner", tensors, text_config={"quantization_config": {"quant_method": "gptq"}})
    with pytest.raises(TensorError, match="gptq"):
        convert(folder, tmp_path / "other.gguf")


Q = "model.layers.0.self_attn.q_proj.weight"
INT8, FP8 = "compressed-tensors int8, rows", "fp8 as DeepSeek V3"
WRONG = {
    "integers that nothing explains": (
        INT8,
        {},
        None,
        rf"{Q} is of type I8, and config.json has no quantization_config",
    ),
    "floats that nothing explains": (FP8, {}, None, r"F8_E4M3, and config.json has no quantization_config"),
    "a missing scale": (INT8, {Q + "_scale": None}, compressed(), rf"its scale {Q}_scale"),
    "a scale that does not fit": (
        INT8,
        {Q + "_scale": np.ones(5, np.float32)},
        compressed(),
        r"\(5,\) does not match its weight",
    ),
    "a scale of a float": (INT8, {Q: np.ones((64, 64), np.float32)}, compressed(), "has a scale, but is of type F32"),
    "columns in another order": (INT8, {Q + "_g_idx": np.zeros(64, np.int32)}, compressed(), "columns are reordered"),
    "packed experts": (FP8, {Q: np.ones((64, 64), np.int8)}, CASES[FP8][0], "has a scale, but is of type I8"),
}


@pytest.mark.parametrize("name", WRONG)
def test_weights_that_do_not_match_the_config(name, tmp_path):
    case, changes, config, says = WRONG[name]
    tensors = {**made(*CASES[case])[0], **changes}
    kept = {key: value for key, value in tensors.items() if value is not None}
    folder = save(tmp_path / "checkpoint", kept, **({"quantization_config": config} if config else {}))
    with pytest.raises(TensorError, match=says):
        convert(folder, tmp_path / "model.gguf")
    assert not (tmp_path / "model.gguf").exists()
