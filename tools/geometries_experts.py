"""The models of tools/geometry.py with experts, of families that came after those of tools/geometries.py."""

from __future__ import annotations

from geometries import LAYER, RMS, Geometry, _moe, _sizes
from geometries_dense import GRANITE, MROPE, QKV_BIASES, hybrid

DELTA_NET = {"ssm.conv_kernel": 4, "ssm.inner_size": 2048, "ssm.state_size": 128, "ssm.time_step_rank": 16}
SIGMOID = {"expert_gating_func": 2}
NORMALIZED = {"expert_weights_norm": True}
BIASED = ("exp_probs_b",)
HEADS = {"attention.key_length": 576, "attention.value_length": 512}
MLA = {"rope.dimension_count": 64, "attention.kv_lora_rank": 512, **HEADS}
INDEXER = {"attention.indexer.key_length": 128, "attention.indexer.top_k": 2048}
SPARSE = {**MLA, **INDEXER, "attention.q_lora_rank": 768, "attention.indexer.head_count": 8}
MIMO_FULL = (0, 5, 11)  # layers of MiMo V2 without windows


def _behind(dense: int, shared: int = 0) -> dict[str, int]:
    """Return the numbers of dense layers before the experts, and of shared experts."""
    return {"leading_dense_block_count": dense, "expert_shared_count": shared}


def _routers(first: int, stop: int) -> tuple[str, ...]:
    """Return the routers of layers `first` to `stop` - 1; in some files only they show which layers have experts."""
    return tuple(f"blk.{i}.ffn_gate_inp" for i in range(first, stop))


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
        | {"rope.dimension_sections": [11, 11, 10, 0]}
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
    # Kimi-Linear-48B-A3B with 12 of 27 layers, half of the width, 32 of 256 experts and 512 of their 1024 columns
    "kimi-linear-1b": Geometry(
        "kimi-linear",
        _sizes(12, 1152, 4608, 16, 1, rope__dimension_count=64)
        | {
            "attention.head_count_kv": [0, 0, 0, 1] * 3,
            "attention.key_length_mla": 192,
            "attention.value_length_mla": 128,
            "attention.kv_lora_rank": 512,
            "attention.key_length": 576,
            "attention.value_length": 512,
            "ssm.conv_kernel": 4,
            "kda.head_dim": 128,
            "leading_dense_block_count": 1,
            "expert_shared_count": 1,
            "expert_weights_scale": 2.446,
        }
        | _moe(32, 8, 512)
        | SIGMOID
        | NORMALIZED
        | RMS,
        163840,
        optional=BIASED,
    ),
    # Ling-3.0-tiny with 12 of 24 layers, three quarters of the width and a quarter of the experts
    "bailingmoe3-1b": Geometry(
        "bailingmoe3",
        _sizes(12, 1152, 4608, 12, 1, rope__dimension_count=64, rope__freq_base=6e6)
        | {
            "attention.head_count_kv": [0, 0, 0, 1] * 3,
            "attention.key_length_mla": 192,
            "attention.value_length_mla": 128,
            "attention.q_lora_rank": 512,
            "attention.kv_lora_rank": 512,
            "attention.key_length": 576,
            "attention.value_length": 512,
            "ssm.conv_kernel": 4,
            "kda.head_dim": 128,
            "kda.gate_lower_bound": -5.0,
        }
        | _moe(32, 8, 512)
        | _behind(1, 1)
        | SIGMOID
        | NORMALIZED
        | RMS,
        157184,
        optional=BIASED,
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
    # Nemotron-3-Nano-30B-A3B with 26 of 52 layers, two fifths of the width and a quarter of the experts
    "nemotron_h_moe-1b": Geometry(
        "nemotron_h_moe",
        _sizes(26, 1024, 0, 16, 0, 128, context=262144)
        | hybrid("MEMEM*EMEMEM*EMEMEM*EMEMEM", 704, 2)
        | {"ssm.conv_kernel": 4, "ssm.inner_size": 2048, "ssm.state_size": 128}
        | {"ssm.time_step_rank": 32, "ssm.group_count": 8, "expert_shared_feed_forward_length": 1408}
        | _moe(32, 6, 704)
        | NORMALIZED
        | {"expert_weights_scale": 2.5}
        | RMS
        | LAYER,
        131072,
    ),
    # GLM-4.5-Air with 12 of 46 layers, a quarter of the width (experts: half) and of the experts
    "glm4moe-1b": Geometry(
        "glm4moe",
        _sizes(12, 1024, 2816, 24, 2, 128, context=131072, rope__freq_base=1e6, rope__dimension_count=64)
        | _moe(32, 8, 704)
        | _behind(1, 1)
        | SIGMOID
        | NORMALIZED
        | RMS,
        151552,
        optional=(*BIASED, *QKV_BIASES),
    ),
    # Mistral-Small-4-119B with 12 of 36 layers, a quarter of the width and of the experts
    "mistral4-1b": Geometry(
        "mistral4",
        _sizes(12, 1024, 3072, 8, 1, context=1048576, rope__dimension_count=64)
        | {"attention.q_lora_rank": 256, "attention.kv_lora_rank": 256}
        | {"attention.key_length": 320, "attention.value_length": 256}
        | {"attention.key_length_mla": 128, "attention.value_length_mla": 128}
        | {"rope.scaling.type": "yarn", "rope.scaling.factor": 128.0, "rope.scaling.original_context_length": 8192}
        | {"rope.scaling.yarn_log_multiplier": 0.1, "attention.temperature_scale": 0.1}
        | _moe(32, 4, 512)
        | _behind(0, 1)
        | NORMALIZED
        | RMS,
        131072,
    ),
    # the language model of Qwen3-VL-30B-A3B with 12 of 48 layers, half the width and a quarter of the experts
    "qwen3vlmoe-1b": Geometry(
        "qwen3vlmoe",
        _sizes(12, 1024, 3072, 16, 2, 128, context=262144, rope__freq_base=5e6) | MROPE | _moe(32, 8, 512) | RMS,
        151936,
    ),
    # Trinity-Nano (6B-A1B) with 12 of 56 layers and half the experts
    "afmoe-1b": Geometry(
        "afmoe",
        _sizes(12, 1024, 3072, 8, 2, 128, context=131072, attention__sliding_window=2048)
        | _moe(64, 8, 256)
        | _behind(2, 1)
        | SIGMOID
        | NORMALIZED
        | {"expert_weights_scale": 2.826}
        | RMS,
        200192,
        optional=BIASED,
    ),
    # Ling-lite with 10 of 28 layers, half the width and half the experts
    "bailingmoe-1b": Geometry(
        "bailingmoe",
        _sizes(10, 1024, 2816, 8, 2, 128, context=16384, rope__freq_base=6e5)
        | _moe(32, 6, 704)
        | _behind(0, 2)
        | NORMALIZED
        | RMS,
        126464,
    ),
    # Ling-mini-2.0 with 12 of 20 layers, half the width and a quarter of the experts
    "bailingmoe2-1b": Geometry(
        "bailingmoe2",
        _sizes(12, 1024, 2560, 8, 2, 128, context=32768, rope__freq_base=6e5, rope__dimension_count=64)
        | _moe(64, 8, 256)
        | _behind(1, 1)
        | SIGMOID
        | NORMALIZED
        | {"expert_weights_scale": 2.5, "expert_group_count": 8, "expert_group_used_count": 4}
        | RMS,
        157184,
        optional=BIASED,
    ),
    # dots.llm1 (142B) with 10 of 62 layers, a quarter of the width (experts: half) and of the experts
    "dots1-1b": Geometry(
        "dots1",
        _sizes(10, 1024, 2816, 8, 8, 128, context=32768, rope__freq_base=1e7)
        | _moe(32, 6, 704)
        | _behind(1, 2)
        | SIGMOID
        | NORMALIZED
        | {"expert_weights_scale": 2.5}
        | RMS,
        152064,
        optional=BIASED,
    ),
    # DeepSeekMoE-16B with 12 of 28 layers, half the width and half the experts
    "deepseek-1b": Geometry(
        "deepseek", _sizes(12, 1024, 5632, 8, 8, 128) | _moe(32, 6, 704) | _behind(1, 2) | RMS, 102400
    ),
    # DeepSeek V3.2 with 12 of 61 layers, a seventh of the width and an eighth of the experts and heads
    "deepseek32-1b": Geometry(
        "deepseek32",
        _sizes(12, 1024, 5632, 16, 1, 0)
        | SPARSE
        | {"attention.key_length_mla": 192, "attention.value_length_mla": 128, "expert_weights_scale": 2.5}
        | _moe(32, 8, 512)
        | _behind(1, 1)
        | SIGMOID
        | NORMALIZED
        | RMS,
        129280,
        optional=_routers(1, 12),
    ),
    # GLM-5 with 12 of 78 layers, a sixth of the width, an eighth of the experts and a quarter of the heads
    "glm-dsa-1b": Geometry(
        "glm-dsa",
        _sizes(12, 1024, 4096, 16, 1, 0)
        | SPARSE
        | {"attention.key_length_mla": 256, "attention.value_length_mla": 256, "expert_weights_scale": 2.5}
        | _moe(32, 8, 512)
        | _behind(1, 1)
        | SIGMOID
        | NORMALIZED
        | RMS,
        154880,
        optional=_routers(1, 12),
    ),
    # Hunyuan-A13B with 12 of 32 layers, a quarter of the width and half the experts
    "hunyuan-moe-1b": Geometry(
        "hunyuan-moe",
        _sizes(12, 1024, 768, 8, 2, 128, context=262144, rope__freq_base=1.1e7)
        | _moe(32, 8, 768)
        | _behind(0, 1)
        | RMS,
        128167,
        tied=True,
    ),
    # Hy3 with 12 of 80 layers, a quarter of the width and a sixth of the experts
    "hy_v3-1b": Geometry(
        "hy_v3",
        _sizes(12, 1024, 3328, 16, 2, 128, context=131072, rope__freq_base=1.1e7)
        | _moe(32, 8, 512)
        | _behind(1, 1)
        | SIGMOID
        | NORMALIZED
        | {"expert_weights_scale": 2.826}
        | RMS,
        120832,
        optional=_routers(1, 12),
    ),
    # Laguna-XS.2 with 12 of 40 layers, half the width and an eighth of the experts
    "laguna-1b": Geometry(
        "laguna",
        _sizes(12, 1024, 4096, 0, 4, 128, context=131072, rope__freq_base=5e5, attention__sliding_window=512)
        | {"attention.head_count": [24 if i % 4 == 0 else 32 for i in range(12)]}
        | {"rope.dimension_count": 64, "rope.dimension_count_swa": 128, "rope.freq_base_swa": 1e4}
        | _moe(32, 8, 512)
        | _behind(1, 1)
        | SIGMOID
        | NORMALIZED
        | RMS,
        100352,
        optional=BIASED,
    ),
    # Mellum-2-12B-A2.5B with 14 of 28 layers, less than half the width and half the experts
    "mellum-1b": Geometry(
        "mellum",
        _sizes(14, 1024, 3584, 16, 2, 128, context=131072, rope__freq_base=5e5, attention__sliding_window=1024)
        | {"rope.freq_base_swa": 1e4}
        | _moe(32, 8, 512)
        | RMS,
        98304,
    ),
    # MiMo-V2-Flash with 12 of 48 layers, a quarter of the width and an eighth of the experts
    "mimo2-1b": Geometry(
        "mimo2",
        _sizes(12, 1024, 4096, 16, context=262144, rope__freq_base=5e6, rope__dimension_count=64)
        | {"attention.key_length": 192, "attention.value_length": 128, "rope.freq_base_swa": 1e4}
        | {"attention.head_count_kv": [1 if i in MIMO_FULL else 2 for i in range(12)]}
        | {"attention.sliding_window": 128}
        | {"attention.sliding_window_pattern": [i not in MIMO_FULL for i in range(12)]}
        | _moe(32, 8, 512)
        | SIGMOID
        | NORMALIZED
        | RMS,
        152576,
        optional=(*_routers(1, 12), *(f"blk.{i}.attn_sinks" for i in range(12) if i not in MIMO_FULL)),
    ),
    # SmallThinker-21B-A3B with 10 of 52 layers, two fifths of the width and half the experts
    "smallthinker-1b": Geometry(
        "smallthinker",
        _sizes(10, 1024, 768, 14, 2, 128, context=16384, rope__freq_base=1.5e6, attention__sliding_window=4096)
        | _moe(32, 6, 768)
        | SIGMOID
        | RMS,
        151936,
    ),
    # Step-3.5-Flash with 12 of 45 layers, a quarter of the width and a ninth of the experts
    "step35-1b": Geometry(
        "step35",
        _sizes(12, 1024, 2816, 0, 2, 128, context=262144, rope__freq_base=5e6, rope__dimension_count=128)
        | {"attention.head_count": [16 if i % 4 == 0 else 24 for i in range(12)], "rope.freq_base_swa": 1e4}
        | {"attention.sliding_window": 512, "attention.sliding_window_pattern": [i % 4 != 0 for i in range(12)]}
        | {"swiglu_clamp_exp": [0.0] * 11 + [7.0], "swiglu_clamp_shexp": [0.0] * 11 + [16.0]}
        | _moe(32, 8, 512)
        | {"expert_shared_feed_forward_length": 512, "expert_weights_scale": 3.0}
        | SIGMOID
        | NORMALIZED
        | RMS,
        128896,
        optional=(*_routers(3, 12), "attn_q_norm", "attn_k_norm", "attn_gate"),
    ),
    # Llama-4-Scout-17B-16E with 12 of 48 layers and a fifth of the width (experts: an eighth)
    "llama4-1b": Geometry(
        "llama4",
        _sizes(12, 1024, 3328, 10, 2, 128, context=10485760, rope__freq_base=5e5, interleave_moe_layer_step=1)
        | _moe(16, 1, 1024)
        | RMS,
        202048,
        optional=("rope_freqs",),
    ),
}
