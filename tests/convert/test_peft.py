"""Adapters of PEFT: names, scales and the order of rows; what is refused; conversion to GGUF."""

import json
import struct

import numpy as np
import pytest

from realizar.convert.adapters import convert_adapter
from realizar.convert.peft import read_peft
from realizar.errors import AdapterError, ModelNotFoundError, ParameterError
from realizar.model import load
from realizar.runtime.adapter_files import open_lora
from tests.limits.models import LLAMA, QWEN2
from tests.parity.cases import OWN_SET

CONFIG = {"peft_type": "LORA", "r": 4, "lora_alpha": 8, "bias": "none", "target_modules": ["q_proj"]}
Q = "base_model.model.model.layers.0.self_attn.q_proj"


def write_tensors(path, tensors):
    """Write float32 arrays as a safetensors file."""
    header, data = {}, b""
    for name, array in tensors.items():
        end = len(data) + array.nbytes
        header[name] = {"dtype": "F32", "shape": list(array.shape), "data_offsets": [len(data), end]}
        data += array.tobytes()
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def factors(n_out=256, n_in=256, rank=4, seed=0):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((rank, n_in)).astype(np.float32), rng.standard_normal((n_out, rank)).astype(np.float32)


def write_folder(folder, tensors=None, **config):
    """Write a folder of PEFT, by default with an adapter of one query projection."""
    a, b = factors()
    folder.mkdir(exist_ok=True)
    (folder / "adapter_config.json").write_text(json.dumps({**CONFIG, **config}))
    default = {f"{Q}.lora_A.weight": a, f"{Q}.lora_B.weight": b}
    write_tensors(folder / "adapter_model.safetensors", default if tensors is None else tensors)
    return folder


@pytest.fixture(scope="module")
def model():
    found = load(LLAMA)
    yield found
    found.close()


def read(folder, model):
    return read_peft(folder, model.architecture, model.hp, model.tensors)


def test_rows_are_in_the_order_of_the_weight(model, tmp_path):
    """Files of llama have the pairs of a rotation next to each other, checkpoints half a head apart."""
    (name, found), *others = read(write_folder(tmp_path), model).factors.items()
    assert (name, others, found.scale) == ("blk.0.attn_q.weight", [], 2.0)
    a, b = factors()
    np.testing.assert_array_equal(found.a, a)
    halves = b.reshape(model.hp.n_head, 2, -1, 4)
    np.testing.assert_array_equal(found.b, halves.swapaxes(1, 2).reshape(256, 4))


def test_rows_of_other_architectures_stay(tmp_path):
    model = load(QWEN2)
    (found,) = read(write_folder(tmp_path), model).factors.values()
    np.testing.assert_array_equal(found.b, factors()[1])
    model.close()


@pytest.mark.parametrize(
    ("config", "scale"),
    [
        ({}, 2.0),
        ({"use_rslora": True}, 4.0),
        ({"alpha_pattern": {"q_proj": 2}}, 0.5),
        ({"init_lora_weights": "gaussian", "bias": None}, 2.0),
        ({"alpha_pattern": {"k_proj": 2}}, 2.0),
        ({"alpha_pattern": {r"layers\.0\.self_attn\.q_proj": 1}, "rank_pattern": {"q_proj": 4}}, 0.25),
    ],
    ids=str,
)
def test_scales(config, scale, model, tmp_path):
    (found,) = read(write_folder(tmp_path, **config), model).factors.values()
    assert found.scale == pytest.approx(scale)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"peft_type": "LOHA"}, "peft_type is 'LOHA'; only LORA is supported"),
        ({"use_dora": True}, "use_dora=True: DoRA scales the rows"),
        ({"modules_to_save": ["lm_head"]}, r"modules_to_save=\['lm_head'\]: whole modules were trained"),
        ({"bias": "all"}, "bias='all': biases were trained"),
        ({"fan_in_fan_out": True}, "fan_in_fan_out=True: the weights are transposed"),
        ({"lora_bias": True}, "lora_bias=True: the factors have biases"),
        ({"use_qalora": True}, "use_qalora=True: inputs are averaged"),
        ({"init_lora_weights": "pissa_niter_16"}, "init_lora_weights='pissa_niter_16': .* changed base weights"),
        ({"init_lora_weights": "olora"}, "changed base weights"),
        ({"lora_alpha": None}, "alpha is None; a finite number is needed"),
        ({"lora_alpha": float("nan")}, "alpha is nan"),
        ({"alpha_pattern": {"q_proj": "2"}}, "alpha is '2'"),
        ({"alpha_pattern": ["q_proj"]}, "alpha_pattern="),
        ({"alpha_pattern": {"(": 2}}, "alpha_pattern="),
        ({"alora_invocation_tokens": "12"}, "alora_invocation_tokens='12': a list of tokens"),
        ({"alora_invocation_tokens": [1.5]}, "a list of tokens"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_what_is_refused(config, message, model, tmp_path):
    with pytest.raises(AdapterError, match=message):
        read(write_folder(tmp_path, **config), model)


def test_tensors_that_are_refused(model, tmp_path):
    a, b = factors()
    for tensors, message in (
        ({f"{Q}.lora_magnitude_vector.weight": b[:, 0].copy()}, "only the factors lora_A and lora_B are supported"),
        ({f"{Q}.lora_A.weight": a}, r"A \[rank, n_in\] and B \[n_out, rank\] are needed"),
        ({f"{Q}.lora_A.weight": a[:0], f"{Q}.lora_B.weight": b[:, :0].copy()}, r"A \[rank, n_in\] and B"),
        ({f"{Q}.lora_A.weight": a[:2], f"{Q}.lora_B.weight": b}, r"A \[rank, n_in\] and B"),
        ({f"{Q}x.lora_A.weight": a, f"{Q}x.lora_B.weight": b}, r"q_projx: is no weight of .*; did you mean q_proj"),
        ({}, "has no factors"),
    ):
        with pytest.raises(AdapterError, match=message):
            read(write_folder(tmp_path, tensors), model)


def test_embeddings(model, tmp_path):
    """A [rank, n_vocab] and B [n_embd, rank] are those of a table, whose base weights PEFT saves as well."""
    n_vocab, n_embd = model.tensors["token_embd.weight"].shape
    a, b = factors(n_embd, n_vocab)
    name = "base_model.model.model.embed_tokens"
    tensors = {f"{name}.lora_embedding_A": a, f"{name}.lora_embedding_B": b}
    write_folder(tmp_path, {**tensors, f"{name}.base_layer.weight": np.zeros((n_vocab, n_embd), np.float32)})
    (name, found), *others = read(tmp_path, model).factors.items()
    assert (name, others, found.scale) == ("token_embd.weight", [], 2.0)
    np.testing.assert_array_equal(found.b @ found.a, (b @ a).T)


EXPERT = "base_model.model.model.layers.1.mlp.experts.{}.{}_proj.lora_{}.weight"


def of_experts(model, *experts, rank=4):
    """Factors of down of some experts of the second layer."""
    _, n_out, n_in = model.tensors["blk.1.ffn_down_exps.weight"].shape
    pairs = [(i, factors(n_out, n_in, rank, seed=i)) for i in experts]
    return {EXPERT.format(i, "down", which): pair["AB".index(which)] for i, pair in pairs for which in "AB"}


@pytest.fixture(scope="module")
def experts():
    found = load(OWN_SET / "bailingmoe" / "model-q8_0.gguf")
    yield found
    found.close()


def test_experts_are_stacked(experts, tmp_path):
    """Those without an adapter get zeros."""
    tensors = of_experts(experts, 1, 2)
    (name, found), *others = read(write_folder(tmp_path, tensors), experts).factors.items()
    assert (name, others, found.scale) == ("blk.1.ffn_down_exps.weight", [], 2.0)
    n_expert, n_out, n_in = experts.tensors[name].shape
    assert found.a.shape == (n_expert, 4, n_in)
    assert found.b.shape == (n_expert, n_out, 4)
    for i in range(n_expert):
        for which, array in (("A", found.a[i]), ("B", found.b[i])):
            want = tensors.get(EXPERT.format(i, "down", which), np.zeros_like(array))
            np.testing.assert_array_equal(array, want)


def test_experts_that_do_not_exist_or_differ(experts, tmp_path):
    n_expert = experts.tensors["blk.1.ffn_down_exps.weight"].shape[0]
    with pytest.raises(AdapterError, match=rf"experts\.{n_expert}\.down_proj: is no weight"):
        read(write_folder(tmp_path, of_experts(experts, n_expert)), experts)
    mixed = {**of_experts(experts, 0), **of_experts(experts, 1, rank=2)}
    with pytest.raises(AdapterError, match="experts have factors of different ranks, sizes or scales"):
        read(write_folder(tmp_path, mixed), experts)


def test_values_that_are_not_finite(model, tmp_path):
    a, b = factors()
    a[0, 0] = np.nan
    write_folder(tmp_path, {f"{Q}.lora_A.weight": a, f"{Q}.lora_B.weight": b})
    with pytest.raises(AdapterError, match="factor A has infinities or NaN"):
        read(tmp_path, model)


def test_missing_files(model, tmp_path):
    with pytest.raises(ModelNotFoundError, match=r"adapter_config\.json"):
        read(tmp_path, model)
    write_folder(tmp_path)
    (tmp_path / "adapter_model.safetensors").unlink()
    with pytest.raises(ModelNotFoundError, match=r"adapter_model\.safetensors: no such file"):
        read(tmp_path, model)


def test_conversion(model, tmp_path):
    """Alphas that differ from weight to weight are multiplied into B."""
    (a, b), (c, d) = factors(), factors(64, seed=1)
    k = Q.replace("q_proj", "k_proj")
    tensors = {f"{Q}.lora_A.weight": a, f"{Q}.lora_B.weight": b, f"{k}.lora_A.weight": c, f"{k}.lora_B.weight": d}
    folder = write_folder(tmp_path / "peft", tensors, alpha_pattern={"k_proj": 2})
    convert_adapter(folder, tmp_path / "a.gguf", LLAMA)
    assert open_lora(tmp_path / "a.gguf", "llama").invocation == ()
    want, found = read(folder, model), open_lora(tmp_path / "a.gguf", "llama")
    assert list(found.factors) == list(want.factors)
    for one, other in zip(found.factors.values(), want.factors.values(), strict=True):
        np.testing.assert_array_equal(one.a, other.a)
        np.testing.assert_allclose(one.scale * one.b, other.scale * other.b, rtol=1e-6)
    with pytest.raises(ParameterError, match="by --target"):
        convert_adapter(folder, tmp_path / "b.gguf", None)
