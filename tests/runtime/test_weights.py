"""Fused weights and weights in parts, weights with a scale, and undeclared tensors."""

import re

import numpy as np
import pytest

from realizar._kernels import table
from realizar.arch import registry
from realizar.errors import TensorError
from realizar.gguf import GGUFFile, GGUFWriter
from realizar.model import load
from realizar.quants import dequantize
from realizar.testing import Session, check_interpreter, random_tokens, relative_error, tiny_metadata, tiny_model
from tests.limits.models import rewritten

QKV = ("attn_q", "attn_k", "attn_v")


@pytest.fixture(scope="module")
def in_parts(tmp_path_factory):
    folder = tmp_path_factory.mktemp("parts")
    with tiny_model(registry.default().architecture("phi2"), tiny_metadata("phi2"), "Q4_K", folder, optional=False):
        return folder / "phi2-Q4_K-False.gguf"


def fused(source, target, parts=QKV):
    """The same model with these of q, k and v fused in one tensor."""
    with GGUFFile(source) as file:
        writer = GGUFWriter(target)
        for key, value in file.metadata.items():
            writer.add(key, value)
        for name, info in file.tensors.items():
            if ".attn_q." in name:
                names = [name.replace("attn_q", part) for part in parts]
                axis = 0 if name.endswith("weight") else 1  # a bias is one row
                data = np.concatenate([file.data(n) for n in names], axis)
                shape = (sum(file.tensors[n].shape[0] for n in names), *info.shape[1:])
                writer.add_tensor(name.replace("attn_q", "attn_qkv"), data, shape, info.type)
            elif not any(f".{part}." in name for part in QKV):
                writer.add_tensor(name, file.data(name), info.shape, info.type)
        writer.write()
    return target


def logits(path, activations="int8"):
    model = load(path)
    try:
        return Session(model, model.plan(), activations=activations).prompt(random_tokens(), 48)["logits"]
    finally:
        model.close()


def test_whole_and_parts_give_the_same_bits(in_parts, tmp_path):
    np.testing.assert_array_equal(logits(fused(in_parts, tmp_path / "whole.gguf")), logits(in_parts))


def test_parts_are_views(in_parts, tmp_path):
    model = load(fused(in_parts, tmp_path / "whole.gguf"))
    whole = model.file.data("blk.1.attn_qkv.weight")
    for part in QKV:
        assert np.shares_memory(model.tensors[f"blk.1.{part}.weight"].data, whole)
    model.close()


def test_errors_name_the_tensor(in_parts, tmp_path):
    with pytest.raises(TensorError, match=r"blk\.0\.attn_qkv\.(weight|bias): shape"):
        load(fused(in_parts, tmp_path / "short.gguf", QKV[:2]))
    no_q = rewritten(
        in_parts, tmp_path / "no_q.gguf", tensors=lambda name, *row: None if "attn_q." in name else (name, *row)
    )
    with pytest.raises(TensorError, match=r"blk\.0\.attn_q\.weight: the architecture needs it"):
        load(no_q)


def tiny(name, folder, type_name="Q8_0", optional=False, **keys):
    """The file of a tiny model; with `optional`, everything that may be fused is fused."""
    metadata = {**tiny_metadata(name), **{f"{name}.{key}": value for key, value in keys.items()}}
    with tiny_model(registry.default().architecture(name), metadata, type_name, folder, optional=optional):
        return folder / f"{name}-{type_name}-{optional}.gguf"


def array(path, name):
    with GGUFFile(path) as file:
        return dequantize(file.data(name), file.tensors[name].type.name).reshape(file.tensors[name].shape)


@pytest.fixture(scope="module")
def llama(tmp_path_factory):
    return tiny("llama", tmp_path_factory.mktemp("llama"))


def joined(source, target, parts, whole, axis):
    """The same model with these tensors of each layer fused along the rows."""
    first, *others = (f".{part}.weight" for part in parts)

    def tensors(name, data, shape, kind):
        if any(other in name for other in others):
            return None
        if first not in name:
            return name, data, shape, kind
        all_names = [name.replace(first, part) for part in (first, *others)]
        rows = [file.data(n).reshape(*file.tensors[n].shape[:-1], -1) for n in all_names]
        data = np.concatenate(rows, axis)
        return name.replace(first, f".{whole}.weight"), data, (*data.shape[:-1], shape[-1]), kind

    with GGUFFile(source) as file:
        return rewritten(source, target, tensors=tensors)


@pytest.mark.parametrize("name", ["llama", "qwen2", "stablelm", "olmo2", "gemma", "smollm3"])
def test_every_architecture_accepts_fused_tensors(name, tmp_path):
    apart = tiny(name, tmp_path)
    gated = joined(apart, tmp_path / "gated.gguf", ("ffn_gate", "ffn_up"), "ffn_up", 0)
    np.testing.assert_array_equal(logits(gated), logits(apart))
    if name != "qwen2":  # the biases would have to be fused, too: see phi-2 above
        whole = joined(apart, tmp_path / "whole.gguf", QKV, "attn_qkv", 0)
        np.testing.assert_array_equal(logits(whole), logits(apart))


def test_one_weight_and_three_biases(in_parts, tmp_path):
    whole = joined(in_parts, tmp_path / "whole.gguf", QKV, "attn_qkv", 0)  # biases are not fused
    np.testing.assert_array_equal(logits(whole), logits(in_parts))


@pytest.mark.parametrize("kind", ["Q8_0", "Q4_K", "F32"])
@pytest.mark.parametrize("activations", ["int8", "f32"])
def test_gate_and_up_of_experts_in_one_tensor(kind, activations, tmp_path):
    """`ffn_gate_up_exps`: for each expert the rows of gate, then those of up."""
    experts = {"expert_count": 4, "expert_used_count": 2}
    apart = tiny("qwen3moe", tmp_path, kind, expert_feed_forward_length=256, **experts)
    parts = ("ffn_gate_exps", "ffn_up_exps")
    whole = joined(apart, tmp_path / "whole.gguf", parts, "ffn_gate_up_exps", 1)
    with GGUFFile(whole) as file:
        assert file.tensors["blk.0.ffn_gate_up_exps.weight"].shape == (4, 512, 256)
    np.testing.assert_array_equal(logits(whole, activations), logits(apart, activations))
    model = load(whole)
    for part in parts:
        view = model.tensors[f"blk.1.{part}.weight"].data
        assert np.shares_memory(view, model.file.data("blk.1.ffn_gate_up_exps.weight"))
    model.close()


def test_a_missing_gate_is_named(llama, tmp_path):
    path = rewritten(llama, tmp_path / "m.gguf", tensors=lambda n, *row: None if "0.ffn_gate" in n else (n, *row))
    with pytest.raises(TensorError, match=r"^blk\.0\.ffn_gate\.weight: the architecture needs it"):
        load(path)


# ---- scales


@pytest.mark.parametrize("name", ["attn_q", "attn_output", "ffn_gate", "ffn_down"])
def test_a_scale_is_multiplied(name, tmp_path):
    """As in llama.cpp, which multiplies the result of the product; it agrees to 3e-7 on a parity file.

    llama.cpp does this for Llama; for Qwen 2 and others it reads the scales of a feed-forward but does not use them.
    """
    source, scale = tiny("llama", tmp_path, "F32"), np.float32(0.37)
    scaled = rewritten(source, tmp_path / "scaled.gguf", more={f"blk.1.{name}.scale": np.array([scale])})

    def multiply(n, data, shape, kind):
        return (n, (data.view(np.float32) * scale).view(np.uint8) if f"1.{name}." in n else data, shape, kind)

    want = logits(rewritten(source, tmp_path / "multiplied.gguf", tensors=multiply), "f32")
    found = logits(scaled, "f32")
    assert relative_error(found, want) <= 1e-6 < 1e-2 < relative_error(found, logits(source, "f32"))


@pytest.mark.parametrize("name", ["ffn_gate_exps", "ffn_up_exps", "ffn_down_exps"])
@pytest.mark.parametrize("n", [1, 4])
def test_scales_of_experts_are_multiplied(name, n, tmp_path):
    """One number for each expert, or one for all, as in NVFP4 files; a gate is scaled before its activation."""
    source = tiny("qwen3moe", tmp_path, "F32", expert_feed_forward_length=256, expert_count=4, expert_used_count=2)
    scales = np.linspace(0.3, 2, n).astype(np.float32)
    scaled = rewritten(source, tmp_path / "scaled.gguf", more={f"blk.1.{name}.scale": scales})

    def multiply(key, data, shape, kind):
        if f"1.{name}." not in key:
            return key, data, shape, kind
        return key, (data.view(np.float32).reshape(shape) * scales[:, None, None]).view(np.uint8), shape, kind

    want = logits(rewritten(source, tmp_path / "multiplied.gguf", tensors=multiply), "f32")
    found = logits(scaled, "f32")
    assert relative_error(found, want) <= 1e-6 < 1e-3 < relative_error(found, logits(source, "f32"))


def test_scales_of_experts_agree_with_the_definition(tmp_path):
    source = tiny("gpt-oss", tmp_path, "NVFP4", expert_count=4, expert_used_count=2)  # its experts have biases
    more = {f"blk.{i}.{part}.scale": np.linspace(0.5, 2, 4) for i in range(2)
            for part in ("ffn_gate_exps", "ffn_up_exps", "ffn_down_exps")}  # fmt: skip
    model = load(rewritten(source, tmp_path / "scaled.gguf", more=more))
    for activations in ("f32", "int8"):
        check_interpreter(model, activations, table.available())
    model.close()


def test_a_bias_is_added_after_the_scale(in_parts, tmp_path):
    """Only the product is scaled, also if q, k and v are fused."""
    scale, name = np.array([0.5]), "blk.0.attn_k"
    bias = array(in_parts, f"{name}.bias").reshape(-1)

    def doubled(n, data, shape, kind):
        return (n, (2 * bias).view(np.uint8), shape, kind) if n == f"{name}.bias" else (n, data, shape, kind)

    scaled = rewritten(in_parts, tmp_path / "a.gguf", tensors=doubled, more={f"{name}.scale": scale})
    model = load(scaled)
    np.testing.assert_array_equal(model.tensors[f"{name}.bias"].floats().reshape(-1), 4 * bias)
    model.close()
    model = load(rewritten(fused(in_parts, tmp_path / "b.gguf"), tmp_path / "c.gguf",
                           more={"blk.0.attn_qkv.scale": scale}))  # fmt: skip
    np.testing.assert_array_equal(model.tensors[f"{name}.bias"].floats().reshape(-1), 2 * bias)
    assert [node.attrs["factor"] for node in model.graphs["decode"].nodes if node.op == "scale"] == [0.5] * 3
    model.close()


@pytest.mark.parametrize(
    ("name", "values", "says"),
    [
        ("token_embd.scale", [2.0], r"token_embd\.weight: the file scales it .* op 'embed'"),
        ("blk.0.attn_q.scale", [1.0, 2.0], r"blk\.0\.attn_q\.scale: shape \(2,\)"),
        ("blk.0.attn_q.scale", [np.inf], r"blk\.0\.attn_q\.scale: inf"),
        ("blk.0.attn_q.scale", [0.0], r"blk\.0\.attn_q\.scale: 0"),
        ("blk.0.attn_q.scale", np.ones(256), r"one number for all .* or one for each expert, not one for each row"),
    ],
)
def test_invalid_scales(name, values, says, llama, tmp_path):
    with pytest.raises(TensorError, match=says):
        load(rewritten(llama, tmp_path / "m.gguf", more={name: np.array(values)}))


# ---- undeclared tensors


@pytest.mark.parametrize(
    "name",
    [
        "blk.0.attn_q_norm.weight",
        "blk.1.post_ffw_norm.weight",
        "output.bias",
        "output_norm.bias",
        "blk.2.attn_norm.weight",  # one block more than block_count
        "blk.0.attn_qkv.weight",  # in addition to q, k and v
        "cls.weight",
    ],
)
def test_a_tensor_that_is_not_declared(name, llama, tmp_path):
    with pytest.raises(TensorError, match=rf"^{re.escape(name)}: .* does not declare"):
        load(rewritten(llama, tmp_path / "m.gguf", more={name: np.ones(256)}))


def test_many_undeclared_tensors_are_counted(llama, tmp_path):
    path = rewritten(llama, tmp_path / "m.gguf", {"llama.block_count": 1})
    with pytest.raises(TensorError, match=r"^(blk\.1\.\w+\.weight, ){7}blk\.1\.\w+\.weight and 1 more: "):
        load(path)


@pytest.mark.parametrize(
    "name", ["blk.0.attn_q.input_scale", "v.blk.0.attn_q.weight", "mm.0.weight", "a.conv1d.1.weight"]
)
def test_known_exceptions(name, llama, tmp_path):
    path = rewritten(llama, tmp_path / "m.gguf", more={name: np.ones(256)})
    np.testing.assert_array_equal(logits(path), logits(llama))


EXCEPTIONS = {
    "t5": ("dec.blk.0.cross_attn_rel_b.weight", {"attention.relative_buckets_count": 32, "decoder_start_token_id": 0}),
    "t5encoder": ("output.weight", {"attention.relative_buckets_count": 32}),
    "bert": ("cls.output.weight", {}),
    "qwen3": ("cls.output.weight", {}),
    "granite": ("rope_freqs.weight", {"rope.scaling.finetuned": False}),
}


@pytest.mark.parametrize("name", EXCEPTIONS)
def test_exceptions_of_a_family(name, tmp_path):
    tensor, keys = EXCEPTIONS[name]
    source = tiny(name, tmp_path, **keys)
    load(rewritten(source, tmp_path / "m.gguf", more={tensor: np.ones(256)})).close()
    with pytest.raises(TensorError, match=r"^other\.weight: "):
        load(rewritten(source, tmp_path / "n.gguf", more={"other.weight": np.ones(256)}))


@pytest.mark.parametrize(
    "name", ["olmo2", "stablelm", "phi2", "qwen", "gptneox", "olmoe", "phimoe", "qwen2moe", "gpt-oss"]
)
def test_an_output_matrix_that_is_never_tied(name, tmp_path):
    """llama.cpp's list; in files of other architectures the embedding is used instead."""
    experts = {"expert_count": 4, "expert_used_count": 2}
    source = tiny(name, tmp_path, optional=True, **(experts if name.endswith(("moe", "oss", "olmoe")) else {}))
    path = rewritten(source, tmp_path / "m.gguf", tensors=lambda n, *row: None if n == "output.weight" else (n, *row))
    with pytest.raises(TensorError, match=r"^output\.weight: the architecture needs it"):
        load(path)


@pytest.mark.parametrize("gone", ["rope_factors_short", "rope_factors_long"])
def test_one_table_of_longrope(gone, tmp_path):
    source = tiny("phi3", tmp_path, optional=True, **{"rope.scaling.original_context_length": 64})
    path = rewritten(source, tmp_path / "m.gguf", tensors=lambda n, *row: None if gone in n else (n, *row))
    with pytest.raises(TensorError, match=r"^rope_factors_long\.weight: "):
        load(path)


def test_no_table_of_longrope(tmp_path):
    """A model without extended context."""
    model = load(tiny("phi3", tmp_path))
    assert "rope_factors_long.weight" not in model.tensors
    model.close()
