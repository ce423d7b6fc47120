"""Hyperparameters of config.json: the metadata they become, and those that no equations of an architecture follow."""

import json
import math

import pytest

from realizar.arch import ArchMetadata, registry
from realizar.convert.checkpoint_folder import CheckpointFolder
from realizar.convert.metadata import architecture_of, metadata
from realizar.convert.supported import check_rope, check_windows
from realizar.errors import GGUFError

SIZES = {
    "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 4, "num_attention_heads": 4, "head_dim": 16,
    "num_key_value_heads": 2, "vocab_size": 288, "max_position_embeddings": 512, "rms_norm_eps": 1e-5,
    "layer_norm_eps": 1e-5, "rope_theta": 1e4, "num_experts": 4, "n_routed_experts": 4, "num_experts_per_tok": 2,
    "moe_intermediate_size": 48, "moe_topk": 2,
}  # fmt: skip
YARN = {"rope_type": "yarn", "factor": 8.0, "original_max_position_embeddings": 64}
LAYERS = ["sliding_attention", "full_attention", "full_attention", "sliding_attention"]
WINDOW = {"sliding_window": 8, "layer_types": LAYERS}
LFM2 = {"layer_types": ["conv", "full_attention", "conv", "conv"], "conv_L_cache": 3, "norm_eps": 1e-5}
MLA = {"kv_lora_rank": 16, "q_lora_rank": 16, "qk_nope_head_dim": 16, "qk_rope_head_dim": 8, "v_head_dim": 16}
FLAGS = [True, False, False, True]


def checked(name, config):
    """The metadata without the architecture's prefix, checked as a conversion checks it."""
    config = {"architectures": [name], **SIZES, **config}
    architecture = architecture_of(config, registry.default())
    keys = metadata(architecture, config, "test", "F32")
    hp = architecture.hparams(ArchMetadata(keys, architecture.name))
    check_rope(architecture.name, config, architecture.tensors(hp))
    check_windows(architecture.name, config, hp)
    return {key.removeprefix(f"{architecture.name}."): value for key, value in keys.items()}


@pytest.mark.parametrize(
    ("name", "config", "key", "want"),
    [
        ("Qwen2ForCausalLM", {"rope_scaling": {**YARN, "factor": None}}, "rope.scaling.factor", 8.0),
        ("Qwen2ForCausalLM", {"rope_scaling": {**YARN, "attention_factor": 1.3}}, "rope.scaling.yarn_attn_factor", 1.3),
        (
            "LlamaForCausalLM",
            {"rope_scaling": {**YARN, "mscale": 1.0, "mscale_all_dim": 0.5}},
            "rope.scaling.yarn_attn_factor",
            (1 + 0.1 * math.log(8)) / (1 + 0.05 * math.log(8)),
        ),
        ("LlamaForCausalLM", {"rope_scaling": YARN}, "rope.scaling.yarn_attn_factor", None),
        ("GptOssForCausalLM", {"rope_scaling": {**YARN, "truncate": False}}, "rope.scaling.yarn_truncate", False),
        ("GptOssForCausalLM", {"rope_scaling": YARN}, "rope.scaling.yarn_truncate", None),
        ("LlamaForCausalLM", {"rope_scaling": {"type": "dynamic", "factor": 2.0}}, "rope.scaling.dynamic_factor", 2.0),
        ("LlamaForCausalLM", {"rope_scaling": {"type": "dynamic", "alpha": 9.0}}, "rope.scaling.dynamic_factor", None),
        ("LlamaForCausalLM", {"rope_scaling": YARN}, "rope.scaling.dynamic_factor", None),
        ("GPTNeoXForCausalLM", {"hidden_act": "gelu_fast"}, "hidden_activation", "gelu_pytorch_tanh"),
        ("GPTNeoXForCausalLM", {"hidden_act": "gelu"}, "hidden_activation", None),
        ("LlamaForCausalLM", {"partial_rotary_factor": 0.5}, "rope.dimension_count", 16),
        ("GlmForCausalLM", {}, "rope.dimension_count", 8),
        ("SolarOpenForCausalLM", {}, "rope.dimension_count", 16),
        ("StableLmForCausalLM", {}, "rope.dimension_count", 4),
        ("MiniMaxM2ForCausalLM", {"rotary_dim": 12}, "rope.dimension_count", 12),
        ("MiniMaxM2ForCausalLM", {"rope_parameters": {"partial_rotary_factor": 0.5}}, "rope.dimension_count", 8),
        ("Gemma2ForCausalLM", {"query_pre_attn_scalar": 24}, "attention.scale", 24**-0.5),
        ("Gemma2ForCausalLM", {"query_pre_attn_scalar": 16}, "attention.scale", None),
        ("Gemma2ForCausalLM", {"attn_logit_softcapping": None}, "attn_logit_softcapping", 0.0),
        ("Gemma3ForCausalLM", WINDOW, "attention.sliding_window_pattern", FLAGS),
        (
            "Gemma3ForCausalLM",
            {"sliding_window": 8, "sliding_window_pattern": 2},
            "attention.sliding_window_pattern",
            [True, False, True, False],
        ),
        ("GptOssForCausalLM", WINDOW, "attention.sliding_window_pattern", FLAGS),
        ("Lfm2MoeForCausalLM", {**LFM2, "norm_topk_prob": False}, "expert_weights_norm", False),
        ("GraniteSWAForCausalLM", {**WINDOW, "layer_rope_theta": [5e3, 0, 5e3, 0]}, "rope.freq_base", 5e3),
        (
            "GraniteSWAForCausalLM",
            {**WINDOW, "layer_rope_theta": [5e3, 0, 5e3, 0]},
            "attention.rope_pattern",
            [True, False, True, False],
        ),
        (
            "GptOssForCausalLM",
            {"sliding_window": 8, "layer_types": ["sliding_attention", "full_attention"] * 2},
            "attention.sliding_window_pattern",
            None,
        ),
        (
            "Glm4MoeLiteForCausalLM",
            {
                "mlp_layer_types": ["dense", "dense", "sparse", "sparse"],
                **dict.fromkeys(MLA, 16),
            },
            "leading_dense_block_count",
            2,
        ),
    ],
)
def test_metadata(name, config, key, want):
    assert checked(name, config).get(key) == (pytest.approx(want) if isinstance(want, float) else want)


@pytest.mark.parametrize(
    ("rope", "want"),
    [
        ({"mscale": 0.7, "mscale_all_dim": 0.7}, None),
        ({"mscale": 1.0, "mscale_all_dim": 0.5}, (1 + 0.1 * math.log(8)) / (1 + 0.05 * math.log(8))),
        ({"mscale_all_dim": 1.0}, 1 + 0.1 * math.log(8)),
        ({}, None),
    ],
)
def test_yarn_factor_of_latent_attention(rope, want):
    """Files without the key have no factor on cos and sin if they have one for scores, else YaRN's own."""
    keys = checked("DeepseekV3ForCausalLM", {**MLA, "rope_scaling": {**YARN, **rope}})
    assert keys.get("rope.scaling.yarn_attn_factor") == (want and pytest.approx(want))
    architecture = registry.default().architecture("deepseek2")
    found = architecture.rope_scaling(ArchMetadata({f"deepseek2.{k}": v for k, v in keys.items()}, "deepseek2"))
    assert found.yarn_attn_factor == (pytest.approx(want) if want else 1.0 if rope else None)


LONGROPE = {"short_factor": [1.0] * 8, "long_factor": [2.0] * 8, "original_max_position_embeddings": 64}


@pytest.mark.parametrize(
    ("more", "want"),
    [
        ({}, math.sqrt(1 + math.log(8) / math.log(64))),
        ({"factor": 4.0}, math.sqrt(1 + math.log(4) / math.log(64))),
        ({"attention_factor": 1.5}, 1.5),
    ],
)
def test_longrope_factor(more, want):
    """`_compute_longrope_parameters` in transformers: the ratio of contexts only where config.json has no factor."""
    config = {"rope_parameters": {"rope_type": "longrope", **LONGROPE, **more}}
    assert checked("Phi3ForCausalLM", config)["rope.scaling.attn_factor"] == pytest.approx(want)


LLAMA4 = {"num_local_experts": 16, "num_experts_per_tok": 1}


@pytest.mark.parametrize(
    ("name", "config", "says"),
    [
        ("LlamaForCausalLM", {"hidden_act": "gelu"}, "hidden_act is 'gelu'"),
        ("ArceeForCausalLM", {"hidden_act": "silu"}, "hidden_act is 'silu'"),
        ("Gemma3ForCausalLM", {"hidden_activation": "silu"}, "hidden_activation is 'silu'"),
        ("Qwen2ForCausalLM", {"rope_scaling": {"rope_type": "llama3"}}, "rope_type is 'llama3'"),
        ("XverseForCausalLM", {"rope_scaling": {"rope_type": "longrope", **LONGROPE}}, "rope_type is 'longrope'"),
        (
            "Gemma3ForCausalLM",
            {"rope_parameters": {"full_attention": {}, "sliding_attention": {"rope_type": "linear", "factor": 2.0}}},
            r"rope_parameters\.sliding_attention\.rope_type is 'linear'",
        ),
        ("Qwen3ForCausalLM", WINDOW, r"layer_types\[0\] is 'sliding_attention'"),
        ("MistralForCausalLM", WINDOW, r"layer_types\[1\] is 'full_attention'"),
        (
            "Qwen2ForCausalLM",
            {"use_sliding_window": True, "sliding_window": 8, "max_window_layers": 3},
            r"layer_types\[3\] is 'sliding_attention'",
        ),
        ("Qwen3MoeForCausalLM", {"norm_topk_prob": False}, "norm_topk_prob is False"),
        ("Qwen2MoeForCausalLM", {"norm_topk_prob": True}, "norm_topk_prob is True"),
        ("OlmoeForCausalLM", {"norm_topk_prob": True}, "norm_topk_prob is True"),
        ("Qwen3MoeForCausalLM", {"mlp_only_layers": [1]}, "mlp_only_layers"),
        ("Dots1ForCausalLM", {"mlp_layer_types": ["sparse", "dense", "sparse", "sparse"]}, "mlp_layer_types"),
        ("HunYuanMoEV1ForCausalLM", {"moe_topk": [2, 2, 1, 2]}, "moe_topk"),
        ("SmolLM3ForCausalLM", {"no_rope_layers": [1, 0, 1, 0]}, "no_rope_layers"),
        ("SmolLM3ForCausalLM", {"no_rope_layer_interval": 2}, "no_rope_layer_interval"),
        ("Llama4ForCausalLM", {**LLAMA4, "no_rope_layers": [1, 0, 1, 0]}, "no_rope_layers"),
        ("Llama4ForCausalLM", {**LLAMA4, "use_qk_norm": False}, "use_qk_norm"),
        ("Llama4ForCausalLM", {**LLAMA4, "attention_chunk_size": 16}, "attention_chunk_size"),
        ("DeepseekV3ForCausalLM", {"rope_interleave": False}, "rope_interleave"),
        ("Cohere2MoeForCausalLM", {"shared_expert_combination_strategy": "sum"}, "shared_expert_combination_strategy"),
        ("AfmoeForCausalLM", {"mup_enabled": False}, "mup_enabled"),
        ("GraniteSWAForCausalLM", {**WINDOW, "layer_rope_theta": [1e4, 0, 1e5, 0]}, "layer_rope_theta"),
        ("Mamba2ForCausalLM", {"n_groups": 1, "expand": 2, "time_step_limit": [0.01, 0.1]}, "time_step_limit"),
        ("GptOssForCausalLM", {"swiglu_limit": 1.0}, "swiglu_limit"),
        ("Qwen2ForCausalLM", {"sliding_window": "8"}, "sliding_window is '8'; a number of tokens"),
        ("LlamaForCausalLM", {"rope_scaling": "linear"}, r"rope_parameters \(rope_scaling\) is 'linear'"),
        ("LlamaForCausalLM", {"rope_parameters": {"full_attention": [1]}}, "an object is needed"),
        ("LlamaForCausalLM", {"rope_parameters": {"rope_type": ["linear"]}}, r"rope_type is \['linear'\]"),
    ],
)
def test_unsupported_value(name, config, says):
    """The error names the key."""
    with pytest.raises(GGUFError, match=says):
        checked(name, config)


@pytest.mark.parametrize(
    "config",
    [
        {"sliding_window": 8, "use_sliding_window": False},
        {"sliding_window": 512, "use_sliding_window": True, "max_window_layers": 0},
        {"rope_scaling": {"type": "mrope", "mrope_section": [2, 3, 3]}},
        {"hidden_act": "swish"},
        {"rope_parameters": {"full_attention": {"rope_theta": 1e4}, "sliding_attention": None}},
    ],
    ids=str,
)
def test_values_that_change_nothing(config):
    checked("Qwen2ForCausalLM", config)


def test_a_flag_that_is_null_is_false():
    checked("FalconForCausalLM", {"alibi": None, "parallel_attn": True})
    with pytest.raises(GGUFError, match="parallel_attn is None"):
        checked("FalconForCausalLM", {"parallel_attn": None})


def test_a_text_config_that_is_null(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({**SIZES, "text_config": None}))
    (tmp_path / "model.safetensors").write_bytes((2).to_bytes(8, "little") + b"{}")
    assert CheckpointFolder(tmp_path).config["hidden_size"] == 64
