"""The architectures of 2025 and 2026 pass the conformance kit."""

import pytest

from realizar.arch import registry
from realizar.errors import GGUFError
from realizar.testing import check_architecture, tiny_metadata, tiny_model
from tests.isa import LEVELS

EXPERTS = {"expert_count": 4, "expert_used_count": 2, "expert_feed_forward_length": 256}
LFM2 = {"shortconv.l_cache": 3, "attention.head_count_kv": [0, 2]}
GEMMA4 = {
    "block_count": 4, "attention.sliding_window": 16, "attention.sliding_window_pattern": [True, False] * 2,
    "attention.head_count_kv": [2, 1] * 2, "attention.key_length": 128, "attention.value_length": 128,
    "attention.key_length_swa": 64, "attention.value_length_swa": 64, "rope.dimension_count_swa": 64,
    "final_logit_softcapping": 5.0,
}  # fmt: skip
PER_LAYER = {"embedding_length_per_layer_input": 32, "attention.shared_kv_layers": 2}

# Test name -> architecture, keys in addition to those of `tiny_metadata`.
FAMILIES = {
    "lfm2": ("lfm2", LFM2),
    "lfm2 with a window": ("lfm2", {**LFM2, "attention.sliding_window": 16}),
    "gemma4": ("gemma4", GEMMA4),
    "gemma4 with per-layer embeddings": (
        "gemma4",
        {**GEMMA4, **PER_LAYER, "feed_forward_length": [256, 256, 512, 512]},
    ),
    "gemma4 with experts": (
        "gemma4",
        {
            **GEMMA4,
            **EXPERTS,
            "block_count": 2,
            "attention.sliding_window_pattern": 2,
            "attention.head_count_kv": [2, 1],
        },
    ),
    "gemma3n": (
        "gemma3n",
        {
            **PER_LAYER,
            "block_count": 4,
            "attention.sliding_window": 16,
            "attention.sliding_window_pattern": 2,
            "activation_sparsity_scale": [0.5, -float("inf"), 0.5, -float("inf")],
        },
    ),
    "lfm2moe": ("lfm2moe", {**LFM2, **EXPERTS, "expert_gating_func": 2, "leading_dense_block_count": 1}),
}


@pytest.mark.parametrize("name", FAMILIES)
def test_conformance(name):
    arch, keys = FAMILIES[name]
    metadata = {f"{arch}.{key}": value for key, value in keys.items()}
    check_architecture(registry.default().architecture(arch), metadata, types=("Q8_0",), isa_levels=LEVELS)


def test_encoder_of_a_decoder_architecture(tmp_path):
    """LFM2.5-Embedding, for example, has the architecture of the language models."""
    keys = {**tiny_metadata("lfm2"), **{f"lfm2.{key}": value for key, value in LFM2.items()}}
    arch = registry.default().architecture("lfm2")
    with (
        pytest.raises(GGUFError, match=r"^lfm2\.attention\.causal = false: the file is of an encoder"),
        tiny_model(arch, {**keys, "lfm2.attention.causal": False}, "F32", tmp_path),
    ):
        pass
