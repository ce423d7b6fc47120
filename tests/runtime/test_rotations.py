"""Weights in a rotated basis (prism.hadamard.*): the answers are those of the same weights in their own basis."""

import numpy as np
import pytest

from realizar._kernels import table
from realizar.arch import registry
from realizar.errors import GGUFError, TensorError
from realizar.gguf import GGUFFile
from realizar.graph import hadamard as definition
from realizar.model import load
from realizar.quants import dequantize
from realizar.runtime.rotations import read_rotations
from realizar.testing import (
    Session,
    check_architecture,
    check_same_bits,
    random_tokens,
    relative_error,
    tiny_metadata,
    tiny_model,
)
from tests.limits.models import rewritten

WIDTH = 64
PRODUCTS = ("attn_q", "attn_k", "attn_v", "attn_qkv", "attn_gate", "attn_output", "ssm_out", "ffn_gate", "ffn_up",
            "ffn_down", "output")  # fmt: skip
GATED_DELTA = {
    "full_attention_interval": 2, "ssm.conv_kernel": 4, "ssm.inner_size": 256, "ssm.state_size": 64,
    "ssm.group_count": 2, "ssm.time_step_rank": 4, "attention.key_length": 64, "attention.value_length": 64,
}  # fmt: skip


def keys(names, lookups=(), **changed):
    """The keys of a file that stores these weights in a rotated basis."""
    rng = np.random.default_rng(3)
    found = {
        "version": 1, "transform": "normalized-sylvester-walsh-hadamard", "axis": "input-last-dimension",
        "block_size": WIDTH, "sign_mode": "explicit", "sign_widths": np.array([256, 512], np.int32),
        "sign_values": rng.choice(np.array([-1, 1], np.int8), 768), "weight_names": list(names),
        "inverse_weight_names": list(lookups) or None, **changed,
    }  # fmt: skip
    return {f"prism.hadamard.{key}": value for key, value in found.items() if value is not None}


def rotated_rows(w, signs, grouped):
    """R w for each row w; grouped: 4 heads of 2 groups, those of a group brought together."""
    if grouped:
        w = w.reshape(len(w), 2, 2, -1).swapaxes(1, 2).reshape(w.shape)
    return definition.hadamard(signs * w, WIDTH)


def models(name, folder, metadata=None, values=None, **changed):
    """The paths of a tiny model and of the same one in a rotated basis, with these signs."""
    metadata = {**tiny_metadata(name), **{f"{name}.{key}": value for key, value in (metadata or {}).items()}}
    plain, rotated = folder / f"{name}-F32-True.gguf", folder / "rotated.gguf"
    signs = np.split(keys(()).get("prism.hadamard.sign_values") if values is None else values, [256])

    def rotate(name, data, shape, kind):
        if name.removesuffix(".weight").rpartition(".")[2] in (*PRODUCTS, "token_embd"):
            w = dequantize(data, "F32").reshape(shape).astype(np.float64)
            grouped = name.endswith("ssm_out.weight") and changed.get("gdn_v_grouped")
            data = rotated_rows(w, signs[shape[-1] // 512], grouped).astype(np.float32).view(np.uint8)
        return name, data, shape, kind

    with tiny_model(registry.default().architecture(name), metadata, "F32", folder) as model:
        names = [n for n in model.file.tensors if n.removesuffix(".weight").rpartition(".")[2] in PRODUCTS]
    rewritten(plain, rotated, keys(names, ["token_embd.weight"], **changed), rotate)
    return plain, rotated


def logits(path):
    model = load(path)
    try:
        return Session(model, model.plan(), activations="f32", kv_type="f32").prompt(random_tokens(), 48)["logits"]
    finally:
        model.close()


@pytest.mark.parametrize("name", ["llama", "qwen3", "phi3"])
def test_the_same_logits(name, tmp_path):
    plain, rotated = models(name, tmp_path)
    assert relative_error(logits(rotated), logits(plain)) < 1e-5


def test_the_same_logits_without_signs(tmp_path):
    plain, rotated = models("llama", tmp_path, values=np.ones(768, np.int8), sign_mode="identity", sign_values=None)
    assert relative_error(logits(rotated), logits(plain)) < 1e-5


@pytest.mark.parametrize("grouped", [True, None])
def test_the_same_logits_of_a_gated_delta_net(grouped, tmp_path):
    plain, rotated = models("qwen35", tmp_path, GATED_DELTA, gdn_v_grouped=grouped)
    assert relative_error(logits(rotated), logits(plain)) < 1e-5


def test_an_input_is_rotated_once_and_the_hidden_state_is_not(tmp_path):
    plain, rotated = map(load, models("llama", tmp_path))
    n_rotations = sum(op.op == "hadamard" for op in rotated.plan().ops)
    assert n_rotations == 1 + 4 * rotated.hp.n_layer + 1  # look-up; qkv, output, gate and up, down; logits
    assert rotated.hidden == plain.hidden
    for model in (plain, rotated):
        model.close()


def test_the_signs_of_a_draft_are_not_those_of_its_target(tmp_path):
    """Both files may be rotated, each with signs of its own, and their tensors stand in one table."""
    with GGUFFile(models("llama", tmp_path)[1]) as file:
        own, of_draft = (read_rotations(file, "llama", prefix) for prefix in ("", "draft."))
    assert set(of_draft.signs) == {f"draft.{name}" for name in own.signs}
    for rotation in of_draft.by_name.values():
        assert rotation.signs.tensor in of_draft.signs


@pytest.mark.parametrize("type_name", ["PQ2_0", "PTQ1_0"])
def test_conformance(type_name):
    names = [f"blk.{i}.{part}.weight" for i in range(2) for part in ("attn_output", "ffn_up", "ffn_down")]
    check_architecture(
        registry.default().architecture("qwen3"), keys(names, ["token_embd.weight"]),
        types=(type_name,), isa_levels=table.available()[-1:],
    )  # fmt: skip


def test_bits_with_rotated_weights(tmp_path):
    names = ["blk.0.ffn_down.weight", "blk.1.attn_output.weight"]
    arch = registry.default().architecture("llama")
    with tiny_model(arch, {**tiny_metadata("llama"), **keys(names)}, "PTQ1_0", tmp_path) as model:
        check_same_bits(model, "decode", ("scalar",))


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"version": None}, "version: None,"),
        ({"version": 2}, "version: 2, but only 1 is supported"),
        ({"transform": "dct"}, "transform: 'dct'"),
        ({"axis": None}, "axis: None, but only 'input-last-dimension'"),
        ({"block_size": 96}, "block_size: 96, but a power of two"),
        ({"block_size": 1024}, "block_size: 1024, but the rows of blk.0.ffn_down.weight have 512|there are 768 signs"),
        ({"sign_mode": "random"}, "sign_mode: 'random'"),
        ({"sign_widths": np.array([256, 256], np.int32)}, "sign_widths: .* 768 signs"),
        ({"sign_widths": np.array([256, 256, 256], np.int32)}, "sign_widths: .*blk.0.ffn_down.weight have 512"),
        ({"sign_values": np.arange(768, dtype=np.int32)}, "sign_values: a sign is neither 1 nor -1"),
        ({"weight_names": ["blk.9.ffn_up.weight"]}, "it names blk.9.ffn_up.weight, which the file does not have"),
        ({"weight_names": None}, "weight_names: missing"),
        ({"gdn_v_grouped": True}, "ssm.group_count"),
    ],
    ids=lambda value: value if isinstance(value, str) else next(iter(value)),
)
def test_keys_that_are_not_supported(changed, says, tmp_path):
    metadata = {**tiny_metadata("llama"), **keys(["blk.0.ffn_down.weight"], **changed)}
    with (
        pytest.raises(GGUFError, match=says),
        tiny_model(registry.default().architecture("llama"), metadata, "F32", tmp_path),
    ):
        pass


@pytest.mark.parametrize("name", ["ffn_down_exps", "ffn_gate_up_exps"])
def test_weights_of_ops_that_do_not_rotate(name, tmp_path):
    experts = {"llama.expert_count": 4, "llama.expert_used_count": 2}
    metadata = {**tiny_metadata("llama"), **experts, **keys([f"blk.0.{name}.weight"])}
    with (
        pytest.raises(TensorError, match=r"ffn_\w+_exps\.weight: the file stores it in a rotated basis"),
        tiny_model(registry.default().architecture("llama"), metadata, "F32", tmp_path),
    ):
        pass


def test_other_files_are_not_rotated(tmp_path):
    with tiny_model(registry.default().architecture("llama"), tiny_metadata("llama"), "Q8_0", tmp_path) as model:
        assert all(op.op != "hadamard" for op in model.plan().ops)
