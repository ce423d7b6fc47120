"""Checkpoints with the names of each family, made from tiny files: they convert to files with the same logits."""

import json
from dataclasses import replace

import numpy as np
import pytest

from realizar import LLM
from realizar.arch import registry
from realizar.arch.architecture import expand
from realizar.convert import convert
from realizar.errors import GGUFError, TensorError
from realizar.gguf import GGUFFile, GGUFWriter
from realizar.testing import tiny_metadata, tiny_model
from tests.convert.handmade import FAMILIES, LLAMA, SIZES, WHOLE, Family, halves, stack

TOKENS = np.random.default_rng(0).integers(3, 288, 40).tolist()


def write(folder, arrays, config):
    header, body = {}, b""
    for name, array in arrays.items():
        data = np.ascontiguousarray(array, np.float32).tobytes()
        offsets = [len(body), len(body) + len(data)]
        header[name] = {"dtype": "F32", "shape": list(np.shape(array)), "data_offsets": offsets}
        body += data
    text = json.dumps(header).encode()
    (folder / "model.safetensors").write_bytes(len(text).to_bytes(8, "little") + text + body)
    (folder / "config.json").write_text(json.dumps({**SIZES, **config}))


def tensors(model):
    """Return the tensors of a file, with the parts of fused ones."""
    out = {}
    with GGUFFile(model.file.path) as file:
        for name, info in file.tensors.items():
            out[name] = file.data(name).view(np.float32).reshape(info.shape).copy()
    for name, weight in expand(model.architecture.tensors(model.hp), model.hp.n_layer).items():
        for suffix, axis in ((".weight", -2), (".bias", -1)):
            if weight.parts and name + suffix in out and out[name + suffix].shape[axis] == sum(weight.parts.values()):
                ends = np.cumsum([*weight.parts.values()])[:-1]
                prefix = name[: name.rfind(".") + 1]
                parts = np.split(out[name + suffix], ends, axis=axis)
                out.update({f"{prefix}{part}{suffix}": x for part, x in zip(weight.parts, parts, strict=True)})
    return out


def made(table, t):
    """Return the tensors of a table that can be made from those of a file; the last name of a tensor counts."""
    out, last = {}, {source: name for name, source in table.items()}
    for name, source in table.items():
        if last[source] != name:
            continue
        try:
            out[name] = source(t) if callable(source) else t(source)
        except KeyError:  # of another kind of layer
            continue
    return out


def without_factors(path, keys):
    """Write the file without random divisors of rotary frequencies, which no config.json describes."""
    writer = GGUFWriter(path.with_name("plain.gguf"))
    for key, value in keys.items():
        writer.add(key, value)
    with GGUFFile(path) as file:
        for name, info in file.tensors.items():
            if name != "rope_freqs.weight":
                writer.add_tensor(name, file.data(name).copy(), info.shape, info.type)
    writer.write()
    return path.with_name("plain.gguf")


def checkpoint(family, folder):
    """Write a checkpoint, and return the path of the file with the same weights."""
    keys = {key if key.startswith("xielu.") else f"{family.arch}.{key}": value for key, value in family.keys.items()}
    keys, architecture = {**tiny_metadata(family.arch), **keys}, registry.default().architecture(family.arch)
    with tiny_model(architecture, keys, "F32", folder, optional=family.fused) as model:
        found, n_layer, path = tensors(model), model.hp.n_layer, model.file.path
    if found.pop("rope_freqs.weight", None) is not None:
        path = without_factors(path, keys)
    found.setdefault("output.weight", found["token_embd.weight"])
    arrays = made(family.whole, found.__getitem__)
    for i in range(n_layer):
        own = {name.removeprefix(f"blk.{i}."): x for name, x in found.items() if name.startswith(f"blk.{i}.")}
        own.update({key: np.float32(value[i]) for key, value in keys.items() if key.startswith("xielu.")})
        arrays.update({f"{family.prefix}{i}.{name}": x for name, x in made(family.layers, own.__getitem__).items()})
    write(folder, arrays, family.config)
    return path


def logits(path):
    with LLM(path, activations="f32", kv_type="f32") as llm:
        return llm.logits(TOKENS)


@pytest.mark.parametrize("name", FAMILIES)
def test_the_same_logits(name, tmp_path):
    path = checkpoint(FAMILIES[name], tmp_path)
    convert(tmp_path, tmp_path / "model.gguf", "F32")
    found, want = logits(tmp_path / "model.gguf"), logits(path)
    assert np.linalg.norm(found - want) <= 1e-5 * np.linalg.norm(want)


def test_bitnet(tmp_path):
    """Weights become -1, 0 or 1 times their mean magnitude."""
    rng = np.random.default_rng(0)
    shapes = {"mlp.gate_proj": (512, 256), "mlp.up_proj": (512, 256), "mlp.down_proj": (256, 512),
              **{f"self_attn.{part}_proj": (256 if part in "qo" else 128, 256) for part in "qkvo"}}  # fmt: skip
    norms = {"input_layernorm": 256, "post_attention_layernorm": 256, "self_attn.inner_attn_ln": 256,
             "mlp.ffn_layernorm": 512}  # fmt: skip
    arrays = {f"model.layers.{i}.{name}.weight": rng.standard_normal(shape).astype(np.float32)
              for i in range(2) for name, shape in {**shapes, **norms}.items()}  # fmt: skip
    arrays["model.embed_tokens.weight"] = rng.standard_normal((288, 256)).astype(np.float32)
    arrays["model.norm.weight"] = np.ones(256, np.float32)
    config = {"architectures": ["BitnetForCausalLM"], "hidden_act": "silu", "weight_bits": 1}
    write(tmp_path, arrays, {**config, "tie_word_embeddings": True})
    convert(tmp_path, tmp_path / "model.gguf", "F32")
    assert np.isfinite(logits(tmp_path / "model.gguf")).all()
    x = arrays["model.layers.1.mlp.down_proj.weight"]
    mean = np.abs(x).mean(dtype=np.float64)
    with GGUFFile(tmp_path / "model.gguf") as file:
        found = file.data("blk.1.ffn_down.weight").view(np.float32).reshape(256, 512)
        sub_norm = file.data("blk.1.ffn_sub_norm.weight").view(np.float32).reshape(-1)
    want = np.where(x > mean / 2, mean, np.where(x < -mean / 2, -mean, 0))
    np.testing.assert_allclose(found, want, rtol=1e-5)
    np.testing.assert_array_equal(sub_norm, arrays["model.layers.1.mlp.ffn_layernorm.weight"])


def test_output_matrix_with_columns_of_length_one(tmp_path):
    family = FAMILIES["bailingmoe"]
    checkpoint(family, tmp_path)
    changed(tmp_path, norm_head=True)
    convert(tmp_path, tmp_path / "model.gguf", "F32")
    with GGUFFile(tmp_path / "model.gguf") as file:
        found = file.data("output.weight").view(np.float32).reshape(288, 256)
    np.testing.assert_allclose(np.linalg.norm(found, axis=0), 1, rtol=1e-5)


def test_falcon_h1_with_a_tied_output(tmp_path):
    """The multipliers of the embedding and the output differ, so the file has both."""
    family = FAMILIES["falcon-h1"]
    whole = {name: source for name, source in family.whole.items() if name != "lm_head.weight"}
    checkpoint(replace(family, whole=whole, config={**family.config, "tie_word_embeddings": True}), tmp_path)
    convert(tmp_path, tmp_path / "model.gguf", "F32")
    with GGUFFile(tmp_path / "model.gguf") as file:
        embedding, output = (file.data(f"{name}.weight").view(np.float32) for name in ("token_embd", "output"))
    np.testing.assert_allclose(output, embedding / 64, rtol=1e-6)


def changed(folder, **keys):
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **keys}))


@pytest.mark.parametrize(
    ("name", "keys", "says"),
    [
        ("bailingmoe", {"hidden_act": "gelu"}, r"hidden_act is 'gelu', but architecture bailingmoe .* 'silu'"),
        ("bailingmoe2", {"score_function": "softmax"}, "score_function is 'softmax'"),
        ("bailingmoe2", {"use_qk_norm": False}, "use_qk_norm is False"),
        ("maincoder", {"use_qk_norm": False}, "use_qk_norm is False"),
        ("plm", {"hidden_act": "silu"}, "hidden_act is 'silu'.*'relu2'"),
        ("plm", {"rope_scaling": {"type": "yarn"}}, "rope_scaling is"),
        ("apertus", {"hidden_act": "silu"}, "hidden_act"),
        ("openelm", {"ffn_with_glu": False}, "ffn_with_glu"),
        ("openelm", {"ffn_multipliers": None}, r"feed_forward_length: config\.json lacks"),
        ("smallthinker", {"rope_layout": [1, 1]}, "rope_layout must be sliding_window_layout"),
        ("smallthinker", {"moe_layer_layout": [0, 1]}, "layers without experts"),
        ("step35", {"moe_router_activation": "softmax"}, "moe_router_activation"),
        ("step35", {"partial_rotary_factors": [1.0, 1.0, 1.0]}, "rotary bases and shares of layers without"),
        ("step35", {"layer_types": ["full_attention"] * 2, "rope_theta": [1e4, 1e5]}, "rotary bases and shares"),
        ("falcon-h1", {"attention_bias": True}, "attention_bias is True"),
        ("falcon-h1", {"time_step_limit": [0.0, 0.1]}, "time_step_limit is"),
        ("falcon-h1", {"mamba_rms_norm": True}, "mamba_norm_before_gate is true"),
        ("qwen35", {"attn_output_gate": False}, "attn_output_gate is False"),
        ("qwen35moe", {"norm_topk_prob": False}, "norm_topk_prob is False"),
        ("qwen3next", {"mlp_only_layers": [0]}, "mlp_only_layers is"),
        ("qwen3next", {"linear_num_value_heads": None}, r"ssm\.inner_size: config\.json lacks"),
        ("kimi-linear", {"mla_use_nope": False}, "mla_use_nope is False"),
        ("kimi-linear", {"mlp_layer_types": ["sparse", "dense", "sparse"]}, "mlp_layer_types"),
    ],
)
def test_what_the_equations_do_not_follow_is_refused(name, keys, says, tmp_path):
    checkpoint(FAMILIES[name], tmp_path)
    changed(tmp_path, **keys)
    with pytest.raises(GGUFError, match=says):
        convert(tmp_path, tmp_path / "model.gguf")
    assert not (tmp_path / "model.gguf").exists()


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("nothing", r"xielu\.alpha_p: the architecture needs it, but .* no layers\.0\.mlp\.act_fn\.alpha_p"),
        (lambda t: np.ones(2), r"layers\.0\.mlp\.act_fn\.alpha_p: must have one number, found shape \(2,\)"),
    ],
)
def test_numbers_of_layers(source, says, tmp_path):
    family = FAMILIES["apertus"]
    checkpoint(replace(family, layers={**family.layers, "mlp.act_fn.alpha_p": source}), tmp_path)
    with pytest.raises(TensorError, match=says):
        convert(tmp_path, tmp_path / "model.gguf")


def test_heads_that_do_not_fit_a_fused_tensor(tmp_path):
    checkpoint(FAMILIES["bailingmoe"], tmp_path)
    changed(tmp_path, num_key_value_heads=1)
    with pytest.raises(TensorError, match="512 rows, not 256"):
        convert(tmp_path, tmp_path / "model.gguf")


ENCODERS = {
    "llama-embed": (
        {"architectures": ["LlamaBidirectionalModel"]},
        {**LLAMA, "self_attn.q_proj.weight": halves("attn_q.weight", 4),
         "self_attn.k_proj.weight": halves("attn_k.weight", 2)},
        {name: source for name, source in WHOLE.items() if source != "output.weight"},
        "model.layers.", {},
    ),
    "neo-bert": (
        {"architectures": ["NeoBERT"], "intermediate_size": 764, "max_length": 512, "norm_eps": 1e-5,
         "num_key_value_heads": None},
        {"attention_norm.weight": "attn_norm.weight", "qkv.weight": "attn_qkv.weight",
         "wo.weight": "attn_output.weight",
         "ffn_norm.weight": "ffn_norm.weight", "ffn.w12.weight": stack("ffn_gate.weight", "ffn_up.weight"),
         "ffn.w3.weight": "ffn_down.weight"},
        {"model.encoder.weight": "token_embd.weight", "model.layer_norm.weight": "enc.output_norm.weight"},
        "model.transformer_encoder.", {"attention.head_count_kv": 4},
    ),
    "jina-bert-v3": (
        {"architectures": ["XLMRobertaModel"], "lora_adaptations": ["retrieval.query"], "model_type": "xlm-roberta",
         "pad_token_id": 1, "max_position_embeddings": 514, "layer_norm_eps": 1e-5, "rotary_emb_base": 10000.0,
         "type_vocab_size": 1, "num_key_value_heads": None, "rope_theta": None},
        {"mixer.Wqkv.parametrizations.weight.original": stack("attn_q.weight", "attn_k.weight", "attn_v.weight"),
         "mixer.Wqkv.parametrizations.weight.0.lora_A": lambda t: np.ones((1, 4, 256)),
         "mixer.out_proj.parametrizations.weight.original": "attn_output.weight",
         "mlp.fc1.parametrizations.weight.original": "ffn_up.weight",
         "mlp.fc2.parametrizations.weight.original": "ffn_down.weight",
         **{f"norm{j}.{kind}": f"{norm}_norm.{kind}" for j, norm in ((1, "attn_output"), (2, "layer_output"))
            for kind in ("weight", "bias")}},
        {"roberta.embeddings.word_embeddings.parametrizations.weight.original": "token_embd.weight",
         **{f"roberta.emb_ln.{kind}": f"token_embd_norm.{kind}" for kind in ("weight", "bias")}},
        "roberta.encoder.layers.", {"attention.head_count_kv": 4},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ENCODERS)
def test_encoders(name, tmp_path):
    config, layers, whole, prefix, keys = ENCODERS[name]
    path = checkpoint(Family(name, {"attention.causal": False, **keys}, config, layers, whole, prefix), tmp_path)
    convert(tmp_path, tmp_path / "model.gguf", "F32")
    found, want = [], []
    for one, into in ((tmp_path / "model.gguf", found), (path, want)):
        with LLM(one, activations="f32", kv_type="f32") as llm:
            into.append(llm.embed(TOKENS, pooling=None)[0])
    assert np.linalg.norm(found[0] - want[0]) <= 1e-5 * np.linalg.norm(want[0])
