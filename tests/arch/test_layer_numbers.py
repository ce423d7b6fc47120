"""Per-layer metadata, and metadata of sliding-window layers."""

import numpy as np
import pytest

from realizar.arch import Architecture, ArchMetadata, RopeScaling, registry
from realizar.arch.architecture import LAYER_KEYS
from realizar.arch.blocks import (
    embedding_tensors,
    gqa,
    layer_tensors,
    norm_tensors,
    qkv_tensors,
    swiglu_ffn,
    swiglu_tensors,
)
from realizar.errors import GGUFError
from realizar.testing import check_architecture, tiny_metadata
from tests.isa import LEVELS

ARRAYS = (
    "attention.head_count", "attention.head_count_kv", "attention.key_length", "attention.value_length",
    "feed_forward_length", "rope.dimension_count", "rope.freq_base", "attention.layer_norm_rms_epsilon",
)  # fmt: skip


def hparams(name, **keys):
    metadata = {**tiny_metadata(name), **{f"{name}.{key}": value for key, value in keys.items()}}
    return registry.default().architecture(name).hparams(ArchMetadata(metadata, name))


@pytest.mark.parametrize("key", ARRAYS)
@pytest.mark.parametrize("as_array", [list, np.array])
def test_equal_values_for_all_layers(key, as_array):
    value = tiny_metadata("llama").get(f"llama.{key}", 64)
    assert hparams("llama", **{key: as_array([value] * 2)}) == hparams("llama", **{key: value})


@pytest.mark.parametrize("key", ARRAYS)
def test_different_values_per_layer(key):
    """Llama requires equal widths in all layers; the error names the key."""
    with pytest.raises(GGUFError, match=rf"^llama\.{key}: differs from layer to layer \(\[1, 2\]\), which is not supp"):
        hparams("llama", **{key: np.array([1, 2])})


@pytest.mark.parametrize("value", [[4], [4, 4, 4], [], ["4", "4"], [4.5, 4.5]])
def test_invalid_arrays(value):
    with pytest.raises(GGUFError, match=r"llama\.attention\.head_count: an integer is needed"):
        hparams("llama", **{"attention.head_count": value})


class Uneven(Architecture):
    """Layers with different heads and widths, some without attention or feed-forward."""

    name = "uneven"
    varies = ("n_head", "n_head_kv", "n_ff")

    def tensors(self, hp):
        table = {**embedding_tensors(hp.n_vocab, hp.n_embd), **norm_tensors(hp.n_embd, "attn_norm", "ffn_norm")}
        for i in range(hp.n_layer):
            own = hp.layer(i)
            table.update(layer_tensors(i, qkv_tensors(own) if own.n_head_kv else {}))
            table.update(layer_tensors(i, swiglu_tensors(own.n_embd, own.n_ff) if own.n_ff else {}))
        return table

    def build(self, g, w, hp):
        x = g.embed(w.token_embd)
        for i, blk in enumerate(w.blk):
            h, own = g.rms_norm(x, blk.attn_norm, eps=hp.norm_eps), hp.layer(i)
            x = x + (gqa(g, h, blk, own, i, "neox") if own.n_head_kv else h)
            h = g.rms_norm(x, blk.ffn_norm, eps=hp.norm_eps)
            x = x + (swiglu_ffn(g, h, blk) if own.n_ff else h)
        return g.linear(g.rms_norm(x, w.output_norm, eps=hp.norm_eps), w.output)


HEADS = {"n_head": [4, 0, 6], "n_head_kv": [2, 0, 3], "n_ff": [256, 512, 0]}


def uneven(**changes):
    own = {f"uneven.{LAYER_KEYS[name]}": values for name, values in {**HEADS, **changes}.items()}
    return {**tiny_metadata("uneven"), "uneven.block_count": 3, "uneven.attention.key_length": 64, **own}


def test_layers_with_different_heads():
    hp = Uneven().hparams(ArchMetadata(uneven(n_ff=512), "uneven"))
    assert (hp.n_head, hp.n_head_kv, hp.n_ff) == (6, 3, 512)
    assert [(hp.layer(i).n_head, hp.layer(i).n_head_kv, hp.layer(i).n_ff) for i in range(3)] == [
        (4, 2, 512),
        (0, 0, 512),
        (6, 3, 512),
    ]
    check_architecture(Uneven, uneven(), types=("Q8_0",), isa_levels=LEVELS)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"n_head": [4, 0]}, r"uneven\.attention\.head_count: an integer >= 0, or one for each layer, is needed"),
        ({"n_ff": [4, 0, -1]}, r"uneven\.feed_forward_length: an integer >= 0, or one for each layer, is needed"),
        ({"n_head_kv": [3, 0, 3]}, "uneven: 4 query heads are not a multiple of 3 KV heads"),
    ],
)
def test_invalid_numbers_of_layers(changes, says):
    with pytest.raises(GGUFError, match=says):
        Uneven().hparams(ArchMetadata(uneven(**changes), "uneven"))


def test_heads_per_layer_of_jamba():
    ssm = {"ssm.conv_kernel": 4, "ssm.inner_size": 512, "ssm.state_size": 16, "ssm.time_step_rank": 16}
    found = hparams("jamba", **ssm, **{"attention.head_count_kv": np.array([0, 2]), "feed_forward_length": [512, 512]})
    assert ([found.layer(i).n_head_kv for i in range(2)], found.n_ff) == ([0, 2], 512)


WINDOW = {"attention.sliding_window": 16, "attention.sliding_window_pattern": [True, False]}
WINDOWS = {
    "gemma2": (10000.0, RopeScaling(n_ctx_orig=512)),
    "gemma3": (10000.0, RopeScaling()),
    "olmo2": (10000.0, RopeScaling()),
    "gpt-oss": (10000.0, RopeScaling(n_ctx_orig=512)),
}


@pytest.mark.parametrize("name", WINDOWS)
def test_rope_of_sliding_window_layers(name):
    experts = {"expert_count": 4, "expert_used_count": 2} if name == "gpt-oss" else {}
    hp = hparams(name, **WINDOW, **experts)
    own, (base, scaling) = hp.windows.rotation(hp, 0), WINDOWS[name]
    assert (own.rope_base, own.rope_dims, own.rope_scaling) == (base, 64, scaling)
    hp = hparams(name, **WINDOW, **experts, **{"rope.freq_base_swa": 500.0, "rope.dimension_count_swa": 32})
    own = hp.windows.rotation(hp, 0)
    assert (own.rope_base, own.rope_dims) == (500.0, 32)
    assert hp.windows.rotation(hp, 1) is hp
    assert (hp.rope_base, hp.rope_dims) == (10000.0, 64)


def test_rope_of_sliding_window_layers_is_computed():
    keys = {**WINDOW, "rope.freq_base_swa": 500.0, "rope.dimension_count_swa": 32}
    metadata = {f"gemma2.{key}": value for key, value in keys.items()}
    check_architecture(registry.default().architecture("gemma2"), metadata, types=("Q8_0",), isa_levels=LEVELS)


@pytest.mark.parametrize("key", ["attention.key_length_swa", "attention.value_length_swa"])
def test_two_head_sizes(key):
    assert hparams("gemma2", **{key: 64}) == hparams("gemma2")
    with pytest.raises(GGUFError, match=rf"gemma2\.{key}: heads of 32 elements in sliding-window layers, of 64"):
        hparams("gemma2", **{key: 32})


GEMMA4 = {
    **WINDOW, "attention.key_length": 128, "attention.value_length": 128, "attention.key_length_swa": 32,
    "attention.value_length_swa": 32, "rope.dimension_count_swa": 16, "block_count": 4,
    "attention.sliding_window_pattern": [True, False, False, True], "attention.head_count_kv": [1, 2, 4, 1],
}  # fmt: skip


def test_layers_with_heads_of_two_sizes():
    hp = hparams("gemma4", **GEMMA4)
    found = [(own.n_head_kv, own.head_dim, own.head_dim_v, own.rope_dims) for own in map(hp.layer, range(4))]
    assert found == [(1, 32, 32, 16), (2, 128, 128, 128), (4, 128, 128, 128), (1, 32, 32, 16)]


def test_layers_with_the_keys_and_values_of_others():
    key = "attention.shared_kv_layers"
    for n_shared, layers in ((0, (0, 1, 2, 3)), (1, (0, 1, 2, 0)), (2, (0, 1, 1, 0))):
        assert hparams("gemma4", **GEMMA4, **{key: n_shared}).kv_layers == layers
    for wrong in (-1, 3, 4, 5):
        with pytest.raises(GGUFError, match=rf"gemma4\.{key}: {wrong} of 4 layers are to have the keys and values"):
            hparams("gemma4", **GEMMA4, **{key: wrong})


def test_numbers_of_layers():
    def sparsity(value):
        metadata = {**tiny_metadata("gemma3n"), "gemma3n.activation_sparsity_scale": value}
        return ArchMetadata(metadata, "gemma3n").numbers("activation_sparsity_scale", 0.0, finite=False)

    assert sparsity(None) == (0.0, 0.0)
    assert sparsity(np.array([1.5, -np.inf], np.float32)) == (1.5, -np.inf)
    assert sparsity(1.5) == (1.5, 1.5)
    for wrong in ([1.5], ["a", "b"], [1.5, float("nan")], [float("inf"), 1.5]):
        with pytest.raises(GGUFError, match=r"activation_sparsity_scale: a number, or one for each layer, is needed"):
            sparsity(wrong)


GEMMA3N = {"attention.sliding_window": 16, "embedding_length_per_layer_input": 32}


@pytest.mark.parametrize(
    ("name", "key", "wrong", "says"),
    [
        ("gemma4", "attention.sliding_window", None, "an integer is needed, it is missing"),
        ("gemma4", "attention.sliding_window", 0, "an integer >= 1 is needed, found 0"),
        ("gemma4", "embedding_length_per_layer_input", -1, "an integer from 0 to 1048576 is needed, found -1"),
        ("gemma4", "expert_count", -2, "an integer from 0 to 1048576 is needed, found -2"),
        ("gemma4", "expert_count", True, "an integer is needed, found True"),
        ("gemma4", "final_logit_softcapping", -30.0, "a number from 0 to 1e\\+06 is needed, found -30.0"),
        ("gemma4", "attention.sliding_window_pattern", [True], "a flag for each layer, is needed, found"),
        ("gemma4", "attention.shared_kv_layers", "two", "an integer is needed, found 'two'"),
        ("gemma3n", "attention.sliding_window", None, "an integer is needed, it is missing"),
        ("gemma3n", "embedding_length_per_layer_input", None, "an integer is needed, it is missing"),
        ("gemma3n", "embedding_length_per_layer_input", 0, "an integer >= 1 is needed, found 0"),
        ("gemma3n", "altup.num_inputs", 1, "an integer from 2 to 64 is needed, found 1"),
        ("gemma3n", "altup.active_idx", 4, "an integer from 0 to 3 is needed, found 4"),
        ("gemma3n", "altup.active_idx", -1, "an integer from 0 to 3 is needed, found -1"),
        ("gemma3n", "activation_sparsity_scale", [0.5], "a number, or one for each layer, is needed"),
    ],
)
def test_keys_of_gemma_3n_and_4(name, key, wrong, says):
    good = GEMMA3N if name == "gemma3n" else {**GEMMA4, "expert_used_count": 2}
    hparams(name, **good)
    with pytest.raises(GGUFError, match=rf"^{name}\.{key}: .*{says}"):
        hparams(name, **{**good, key: wrong})


@pytest.mark.parametrize("name", ["llama", "bert", "mamba", "t5", "stablelm"])
@pytest.mark.parametrize("key", ["attention.layer_norm_epsilon", "attention.layer_norm_rms_epsilon"])
@pytest.mark.parametrize("wrong", [1e10, -1e-6, float("nan")])
def test_epsilons(name, key, wrong):
    """Also the epsilon that the architecture does not use: T5's files have both."""
    more = {"t5": {"attention.relative_buckets_count": 32}}.get(name, {})
    if name == "mamba":
        more = {"ssm.conv_kernel": 4, "ssm.inner_size": 512, "ssm.state_size": 16, "ssm.time_step_rank": 16}
    with pytest.raises(GGUFError, match=rf"{name}\.{key}"):
        hparams(name, **more, **{key: wrong})


@pytest.mark.parametrize(
    ("name", "sections", "axes"),
    [
        ("qwen2vl", [2, 3, 3, 0], (0, 0, 1, 1, 1, 2, 2, 2)),
        ("qwen3vl", [3, 3, 2, 0], (0, 1, 2, 0, 1, 2, 0, 1)),
        ("qwen3vl", [4, 2, 2, 0], (0, 1, 2, 0, 1, 2, 0, 0)),
        ("glm4", [2, 3, 3, 0], (0, 0, 1, 1, 1, 2, 2, 2)),
        ("glm4", [8, 0, 0, 0], None),
        ("glm4", None, None),
        ("llama", [2, 3, 3, 0], None),
    ],
)
def test_axes_of_positions(name, sections, axes):
    keys = {} if sections is None else {"rope.dimension_sections": np.array(sections, np.int32)}
    assert hparams(name, **keys).rope_axes == axes


@pytest.mark.parametrize("wrong", ["text", 3, [1.5, 2.0]])
def test_invalid_sections(wrong):
    with pytest.raises(GGUFError, match=r"glm4\.rope\.dimension_sections: an array of integers is needed"):
        hparams("glm4", **{"rope.dimension_sections": wrong})


@pytest.mark.parametrize("wrong", [None, [True], 2, [0.5, 0.5, 0.5, 0.5]])
def test_invalid_flags(wrong):
    """Granite SWA has no default period to replace a missing pattern."""
    with pytest.raises(GGUFError, match=r"granite_swa\.attention\.sliding_window_pattern: a flag for each layer"):
        hparams("granite_swa", **{"attention.sliding_window_pattern": wrong})
