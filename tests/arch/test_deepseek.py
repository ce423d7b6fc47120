"""Multi-head latent attention in all its file layouts, with every kind of routing."""

import math

import pytest

from realizar.arch import ArchMetadata, registry
from realizar.testing import check_architecture, tiny_metadata
from tests.isa import LEVELS

LATENT = {
    "attention.head_count": 4, "attention.head_count_kv": 1, "attention.key_length": 96, "attention.value_length": 64,
    "attention.key_length_mla": 64, "attention.value_length_mla": 32, "attention.kv_lora_rank": 64,
    "attention.q_lora_rank": 128, "rope.dimension_count": 32, "leading_dense_block_count": 1,
    "expert_count": 6, "expert_used_count": 2, "expert_feed_forward_length": 64, "expert_shared_count": 1,
}  # fmt: skip
FUSED = {
    "attention.head_count_kv": 4, "attention.key_length": 64, "attention.value_length": 32,
    "attention.key_length_mla": None, "attention.value_length_mla": None,
}  # fmt: skip
YARN = {"type": "yarn", "factor": 4.0, "original_context_length": 64, "yarn_log_multiplier": 0.0707}
VARIANTS = {
    "no query latent": {"attention.q_lora_rank": None, "expert_shared_count": 0},
    "fused": FUSED,
    "sigmoid": {"expert_gating_func": 2, "expert_weights_norm": True, "expert_weights_scale": 2.5},
    "groups": {"expert_count": 8, "expert_group_count": 4, "expert_group_used_count": 2, "expert_gating_func": 2},
    "yarn": {f"rope.scaling.{key}": value for key, value in YARN.items()},
    "queries that grow": {"attention.temperature_scale": 0.1, "attention.temperature_length": 16},
    "odd sizes": {"attention.kv_lora_rank": 40, "attention.key_length_mla": 44, "rope.dimension_count": 20},
    "many heads": {"attention.head_count": 100, "attention.key_length_mla": 40, "attention.value_length_mla": 8},
}


def check(keys, **options):
    keys = {f"deepseek2.{key}": value for key, value in {**LATENT, **keys}.items()}
    check_architecture(registry.default().architecture("deepseek2"), keys, **options, isa_levels=LEVELS)


def test_deepseek2():
    check({})


@pytest.mark.parametrize("name", VARIANTS)
def test_variants(name):
    check(VARIANTS[name], types=("Q8_0",))


def hparams(name, keys):
    md = {**tiny_metadata(name), **{f"{name}.{key}": value for key, value in {**LATENT, **keys}.items()}}
    return registry.default().architecture(name).hparams(ArchMetadata(md, name))


@pytest.mark.parametrize(
    ("name", "gating", "best"), [("deepseek2", 1, 1), ("deepseek2", 2, 2), ("mistral4", 1, 2), ("mistral4", 2, 2)]
)
def test_rank_of_a_group_of_experts(name, gating, best):
    """By its best expert in DeepSeek V2, by the sum of the best two in V3 and Mistral 4, whose gating is softmax."""
    groups = {"expert_count": 8, "expert_group_count": 4, "expert_group_used_count": 2, "expert_gating_func": gating}
    assert hparams(name, groups).routing["n_group_best"] == best


def test_yarn_without_a_factor_for_scores():
    """Then cos and sin have YaRN's own factor, and scores only 1 / sqrt(head_dim), as in transformers."""
    keys = {f"rope.scaling.{key}": value for key, value in YARN.items()}
    without = hparams("deepseek2", {**keys, "rope.scaling.yarn_log_multiplier": 0.0})
    assert without.qk_scale == pytest.approx(64**-0.5)
    assert without.rope_scaling.yarn_attn_factor is None
    multiplied = hparams("deepseek2", keys)
    assert multiplied.qk_scale == pytest.approx(64**-0.5 * (1 + 0.0707 * math.log(4)) ** 2)
    assert multiplied.rope_scaling.yarn_attn_factor == 1.0
