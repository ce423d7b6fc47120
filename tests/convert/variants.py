"""Tiny models of transformers with other hyperparameters than those of `families`; a row adds a conversion test."""

SW, FA, LA = "sliding_attention", "full_attention", "linear_attention"
DENSE, SPARSE = "dense", "sparse"


def yarn(theta=1e4, **more):
    """YaRN with few rotations over the original context, so that every dimension depends on it."""
    return {"rope_type": "yarn", "rope_theta": theta, "factor": 8.0, "original_max_position_embeddings": 32, **more}


def by_kind(full, theta=1e4):
    """Rotary parameters of models whose sliding-window layers have their own."""
    return {FA: full, SW: {"rope_type": "default", "rope_theta": theta}}


LINEAR = {"rope_type": "linear", "rope_theta": 1e4, "factor": 4.0}
LONGROPE = {
    "rope_type": "longrope", "rope_theta": 1e4, "short_factor": [1 + 0.01 * i for i in range(8)], "factor": 4.0,
    "long_factor": [1 + 0.2 * i for i in range(8)], "original_max_position_embeddings": 16,
}  # fmt: skip
MISTRAL_YARN = yarn(1e6, factor=16.0, original_max_position_embeddings=16, llama_4_scaling_beta=0.1)
PATTERN = {"num_hidden_layers": 4, "layer_types": [FA, SW, FA, SW]}
ATTENTION = {"num_key_value_heads": 1, "head_dim": 24}

# Family of `families` -> hyperparameters of its variants.
VARIANTS = {
    "llama": [
        {**ATTENTION, "tie_word_embeddings": True},
        {"rope_parameters": yarn(beta_fast=20.0, beta_slow=2.0, attention_factor=1.3)},
        {"rope_parameters": yarn(mscale=1.0, mscale_all_dim=0.5)},
        {"rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "partial_rotary_factor": 0.5}},
    ],
    "mistral": [{"sliding_window": 8, "head_dim": 24}],
    "qwen2": [{"num_key_value_heads": 1, "rope_parameters": yarn()}, {"tie_word_embeddings": True}],
    "qwen3": [{**ATTENTION, "attention_bias": True, "rope_parameters": yarn(truncate=False)}],
    "qwen3moe": [{**ATTENTION, "num_experts": 6, "num_experts_per_tok": 3}],
    "gemma2": [
        {"query_pre_attn_scalar": 20, **PATTERN},
        {"attn_logit_softcapping": None, "final_logit_softcapping": None, "head_dim": 24},
    ],
    "gemma3": [
        {"query_pre_attn_scalar": 20, **PATTERN, "sliding_window": 5},
        {"rope_parameters": by_kind({**LINEAR, "rope_theta": 1e6})},
        {"num_hidden_layers": 3, "layer_types": [FA] * 3},
    ],
    "gemma4": [
        {"num_kv_shared_layers": 0, "use_double_wide_mlp": False, "sliding_window": 5},
        {"final_logit_softcapping": None, "num_kv_shared_layers": 4},
    ],
    "gpt-oss": [
        {**PATTERN, "sliding_window": 4, "num_experts_per_tok": 3, "rope_parameters": yarn(1.5e5, truncate=False)}
    ],
    "qwen35": [
        {"linear_num_key_heads": 1, "linear_num_value_heads": 4, "linear_conv_kernel_dim": 2},
        {"num_hidden_layers": 5, "layer_types": [FA, LA, FA, LA, LA], "linear_key_head_dim": 32},
    ],
    "qwen3next": [{"linear_num_key_heads": 4, "linear_num_value_heads": 4, "linear_conv_kernel_dim": 5}],
    "lfm2": [{"conv_L_cache": 5, "layer_types": [FA, "conv", FA], "tie_word_embeddings": False}],
    "lfm2moe": [{"num_dense_layers": 0, "use_expert_bias": False, "norm_topk_prob": False}],
    "granitehybrid": [
        {"mamba_n_groups": 1, "mamba_d_conv": 3, "position_embedding_type": "rope"},
        {"layer_types": [FA, LA, FA], "mamba_d_state": 8, "embedding_multiplier": 1.0},
    ],
    "granite_swa": [{"layer_rope_theta": [1e4, 0.0, 1e4], "sliding_window": 5, "layer_types": [SW, FA, SW]}],
    "falcon-h1": [
        {
            "mamba_rms_norm": True,
            "mamba_norm_before_gate": False,
            "mamba_n_groups": 1,
            "num_key_value_heads": 1,
            "mamba_d_conv": 3,
        }
    ],
    "mamba2": [{"n_groups": 4, "conv_kernel": 3, "state_size": 8}],
    "jamba": [{"attn_layer_offset": 0, "expert_layer_period": 1, "num_experts_per_tok": 3, "mamba_d_conv": 3}],
    "glm4moe": [
        {"n_routed_experts": 8, "n_group": 4, "topk_group": 2, "norm_topk_prob": False, "use_qk_norm": True},
        {"first_k_dense_replace": 0, "n_shared_experts": 2},
    ],
    "minimax-m2": [{"rotary_dim": None, "rope_parameters": {"rope_theta": 1e4, "partial_rotary_factor": 0.5}}],
    "ernie4_5-moe": [{"moe_layer_start_index": 0, "moe_num_shared_experts": 0}],
    "exaone4-windows": [{"layer_types": [SW, SW, FA, SW], "sliding_window": 5}],
    "exaone-moe": [{"mlp_layer_types": [DENSE, DENSE, SPARSE, SPARSE], "num_shared_experts": 2}],
    "cohere2": [{"num_hidden_layers": 5, "layer_types": [FA, SW, SW, FA, SW], "sliding_window": 5}],
    "cohere2moe": [{"num_shared_experts": 0, "norm_topk_prob": False, "mlp_layer_types": [DENSE, *[SPARSE] * 4]}],
    "command-r": [{"tie_word_embeddings": False, "attention_bias": True, "rope_parameters": LINEAR}],
    "deepseek2": [
        {"rope_parameters": yarn(mscale=1.0, mscale_all_dim=0.5)},
        {"topk_method": "group_limited_greedy", "n_routed_experts": 8, "n_group": 4, "topk_group": 2},
    ],
    "deepseek3": [
        {"q_lora_rank": None, "rope_parameters": yarn(mscale_all_dim=1.0)},
        {"rope_parameters": yarn(mscale=0.7, mscale_all_dim=0.7), "first_k_dense_replace": 0},
    ],
    "ministral3": [{"rope_parameters": {**MISTRAL_YARN, "mscale": 0.7, "mscale_all_dim": 1.0}, **ATTENTION}],
    "mistral4": [{"rope_parameters": {**MISTRAL_YARN, "rope_theta": 1e4}, "q_lora_rank": None}],
    "hy_v3": [{"mlp_layer_types": [SPARSE] * 3, "num_shared_experts": 2}],
    "mimo2": [{"layer_types": [SW, FA, SW], "mlp_layer_types": [DENSE, DENSE, SPARSE], "attention_value_scale": None}],
    "afmoe": [{"num_dense_layers": 0, "layer_types": [SW, FA, FA, SW], "sliding_window": 5}],
    "laguna": [{"mlp_layer_types": [SPARSE] * 4, "num_attention_heads_per_layer": [4, 2, 2, 8]}],
    "mellum": [{"layer_types": [FA, SW, SW, FA], "rope_parameters": by_kind(yarn(5e5), 1e5)}],
    "olmo3": [{"layer_types": [FA, SW, FA, SW], "sliding_window": 5, "num_key_value_heads": 1}],
    "kimi-linear": [{"layer_types": [FA, LA, FA, LA], "linear_conv_kernel_dim": 3, "tie_word_embeddings": True}],
    "phi3-long": [{"rope_parameters": LONGROPE, "original_max_position_embeddings": 16}],
    "minicpm3": [{"rope_parameters": {**LONGROPE, "attention_factor": 1.2}}],
    "stablelm": [{"num_key_value_heads": 1, "rope_parameters": yarn(partial_rotary_factor=0.5)}],
    "gptneox": [{"use_parallel_residual": False, "rotary_pct": 0.25}, {"hidden_act": "gelu_fast"}],
    "starcoder2": [{"sliding_window": 5, "use_bias": False}],
    "falcon-40b": [{"num_ln_in_parallel_attn": 1}],
    "seed_oss": [{"attention_out_bias": True, **ATTENTION}],
    "arcee": [{"mlp_bias": True, "rope_parameters": yarn()}],
}
