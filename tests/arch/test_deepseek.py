"""Multi-head latent attention in all its file layouts, with every kind of routing."""

import pytest

from realizar.arch import registry
from realizar.testing import check_architecture
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
