"""The models of tools/geometry.py with experts, of families that came after those of tools/geometries.py."""

from __future__ import annotations

from geometries import LAYER, RMS, Geometry, _moe, _sizes
from geometries_dense import GRANITE

DELTA_NET = {"ssm.conv_kernel": 4, "ssm.inner_size": 2048, "ssm.state_size": 128, "ssm.time_step_rank": 16}
SIGMOID = {"expert_gating_func": 2}
NORMALIZED = {"expert_weights_norm": True}
BIASED = ("exp_probs_b",)


def _behind(dense: int, shared: int = 0) -> dict[str, int]:
    """Return the numbers of dense layers before the experts, and of shared experts."""
    return {"leading_dense_block_count": dense, "expert_shared_count": shared}


GEOMETRIES = {
    # LFM2-8B-A1B with half the width and half the layers
    "lfm2moe-1b": Geometry(
        "lfm2moe",
        _sizes(12, 1024, 3584, 16, rope__freq_base=1e6, shortconv__l_cache=3)
        | {"attention.head_count_kv": [4 if i in (2, 6, 10) else 0 for i in range(12)]}
        | _moe(32, 4, 896)
        | _behind(2)
        | SIGMOID
        | RMS,
        65536,
        tied=True,
        optional=BIASED,
    ),
    # granite-3.0-1b-a400m
    "granitemoe-1b": Geometry(
        "granitemoe",
        _sizes(24, 1024, 512, 16, 8, attention__scale=0.015625) | GRANITE | _moe(32, 8, 512) | RMS,
        49152,
        tied=True,
    ),
    # Qwen3.5-35B-A3B with 12 of 40 layers, half the width and an eighth of the experts
    "qwen35moe-1b": Geometry(
        "qwen35moe",
        _sizes(12, 1024, 512, 8, 2, 256, context=262144, rope__freq_base=1e7, rope__dimension_count=64)
        | DELTA_NET
        | {"ssm.group_count": 8, "expert_shared_feed_forward_length": 512}
        | _moe(32, 8, 512)
        | RMS,
        248320,
    ),
    # Qwen3-Next-80B-A3B with 12 of 48 layers, half the width and a sixteenth of the experts
    "qwen3next-1b": Geometry(
        "qwen3next",
        _sizes(12, 1024, 512, 8, 2, 256, context=262144, rope__freq_base=1e7, rope__dimension_count=64)
        | DELTA_NET
        | {"ssm.group_count": 8, "expert_shared_feed_forward_length": 512}
        | _moe(32, 10, 512)
        | RMS,
        151936,
    ),
    # MiniMax-M2 with 12 of 62 layers, a third of the width and an eighth of the experts
    "minimax-m2-1b": Geometry(
        "minimax-m2",
        _sizes(12, 1024, 512, 12, 2, 128, rope__freq_base=5e6, rope__dimension_count=64)
        | _moe(32, 8, 512)
        | SIGMOID
        | RMS,
        200064,
        optional=BIASED,
    ),
    # ERNIE-4.5-21B-A3B with 12 of 28 layers, two fifths of the width and half the experts
    "ernie4_5-moe-1b": Geometry(
        "ernie4_5-moe",
        _sizes(12, 1024, 4096, 10, 2, 128, rope__freq_base=5e5, interleave_moe_layer_step=1)
        | _moe(32, 6, 768)
        | _behind(1, 2)
        | RMS,
        103424,
        tied=True,
        optional=BIASED,
    ),
    # K-EXAONE-236B-A23B with 12 of 48 layers, a sixth of the width and a quarter of the experts
    "exaone-moe-1b": Geometry(
        "exaone-moe",
        _sizes(12, 1024, 3072, 16, 2, 128, rope__freq_base=1e6, attention__sliding_window=128)
        | _moe(32, 8, 512)
        | _behind(1, 1)
        | SIGMOID
        | NORMALIZED
        | {"expert_weights_scale": 2.5}
        | RMS,
        153600,
        optional=BIASED,
    ),
    # the defaults of transformers' Cohere2MoeConfig with 12 of 40 layers, an eighth of the width, and shared experts
    "cohere2moe-1b": Geometry(
        "cohere2moe",
        _sizes(12, 1024, 4096, 8, 2, 128, context=8192, attention__sliding_window=4096, logit_scale=0.0625)
        | _moe(8, 2, 2816)
        | _behind(1, 1)
        | NORMALIZED
        | LAYER,
        256000,
        tied=True,
    ),
}
