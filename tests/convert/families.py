"""Tiny transformers configurations of each architecture; adding a row adds a conversion test."""

SIZES = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 288,
    "max_position_embeddings": 128,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
LLAMA3 = {
    "rope_type": "llama3", "rope_theta": 500000.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}  # fmt: skip

LONGROPE = {
    "rope_type": "longrope", "rope_theta": 1e4, "short_factor": [1.0] * 8, "long_factor": [1.0 + i for i in range(8)],
    "original_max_position_embeddings": 32,
}  # fmt: skip
NO_GROUPS = {"num_key_value_heads": None}
GRANITE = {
    "attention_multiplier": 0.2, "embedding_multiplier": 12.0, "residual_multiplier": 0.22, "logits_scaling": 8.0,
}  # fmt: skip

JAMBA = {
    "num_experts": 4, "attn_layer_period": 2, "attn_layer_offset": 1, "expert_layer_period": 2,
    "expert_layer_offset": 0,
}  # fmt: skip

EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 48}
GPT_OSS = {
    "num_local_experts": 4, "num_experts_per_tok": 2, "head_dim": 32, "sliding_window": 16,
    "rope_parameters": {
        "rope_type": "yarn", "rope_theta": 150000.0, "factor": 4.0, "beta_fast": 32.0, "beta_slow": 1.0,
        "original_max_position_embeddings": 32, "truncate": True,
    },
}  # fmt: skip

T5 = {
    "d_model": 64, "d_ff": 96, "d_kv": 16, "num_layers": 3, "num_decoder_layers": 2, "num_heads": 4,
    "decoder_start_token_id": 0,
}  # fmt: skip

DEEPSEEK = {
    "n_routed_experts": 4, "num_experts_per_tok": 2, "n_shared_experts": 2, "moe_intermediate_size": 48,
    "first_k_dense_replace": 1, "kv_lora_rank": 32, "qk_nope_head_dim": 24, "qk_rope_head_dim": 16, "v_head_dim": 16,
    "num_key_value_heads": 4,
}  # fmt: skip

SPARSE = {
    **DEEPSEEK, "q_lora_rank": 24, "n_group": 1, "topk_group": 1, "rms_norm_eps": 1e-6, "index_topk": 12,
    "index_head_dim": 32, "index_n_heads": 8,
}  # fmt: skip
MAMBA2 = {"mamba_n_heads": 8, "mamba_d_state": 16, "mamba_n_groups": 2}
GRANITE_MOE = {**GRANITE, "num_local_experts": 4, "num_experts_per_tok": 2, "shared_intermediate_size": 80}
NEMOTRON_H = {
    "head_dim": 32, "mamba_num_heads": 8, "mamba_head_dim": 16, "n_groups": 2, "ssm_state_size": 16, "chunk_size": 8,
    "num_hidden_layers": None,
}  # fmt: skip
MINISTRAL3 = {
    "rope_type": "yarn", "rope_theta": 1e6, "factor": 16.0, "original_max_position_embeddings": 16, "beta_fast": 32.0,
    "beta_slow": 1.0, "mscale": 1.0, "mscale_all_dim": 1.0, "llama_4_scaling_beta": 0.1,
}  # fmt: skip
MISTRAL4 = {**MINISTRAL3, "rope_theta": 1e4, "factor": 4.0, "original_max_position_embeddings": 32}
GLM4_MOE = {
    "head_dim": 32, "n_routed_experts": 4, "num_experts_per_tok": 2, "n_shared_experts": 1, "moe_intermediate_size": 48,
    "first_k_dense_replace": 1, "routed_scaling_factor": 1.5, "norm_topk_prob": True,
}  # fmt: skip
LFM2 = {"layer_types": ["conv", "full_attention", "conv"], "norm_eps": 1e-5}

GEMMA4 = {
    "head_dim": 32, "global_head_dim": 64, "layer_types": ["sliding_attention", "full_attention"] * 3,
    "num_hidden_layers": 6, "sliding_window": 16, "final_logit_softcapping": 30.0, "hidden_size_per_layer_input": 0,
    "vocab_size_per_layer_input": 288,
}  # fmt: skip
GEMMA3N = {
    "head_dim": 32, "layer_types": ["sliding_attention", "full_attention"] * 3, "num_hidden_layers": 6,
    "sliding_window": 16, "hidden_size_per_layer_input": 32, "vocab_size_per_layer_input": 280,
    "num_kv_shared_layers": 2, "intermediate_size": [96] * 6, "activation_sparsity_pattern": [0.0] * 6,
}  # fmt: skip


DELTA = {
    "num_hidden_layers": 4, "head_dim": 32, "linear_conv_kernel_dim": 4, "linear_key_head_dim": 16,
    "linear_value_head_dim": 24, "linear_num_key_heads": 2, "linear_num_value_heads": 6, "rms_norm_eps": 1e-6,
}  # fmt: skip
DELTA_EXPERTS = {**EXPERTS, "shared_expert_intermediate_size": 80}
FALCON_H1 = {
    "head_dim": 16, "mamba_d_ssm": 128, "mamba_n_heads": 8, "mamba_d_head": 16, "mamba_n_groups": 2,
    "mamba_d_state": 16, "mamba_chunk_size": 8, "lm_head_multiplier": 0.3, "embedding_multiplier": 2.5,
    "mlp_multipliers": [0.7, 1.3], "key_multiplier": 0.4, "attention_out_multiplier": 0.9,
    "attention_in_multiplier": 1.2, "ssm_multipliers": [0.8, 1.1, 0.9, 1.3, 0.7], "ssm_in_multiplier": 1.4,
    "ssm_out_multiplier": 0.6,
}  # fmt: skip
KIMI_LINEAR = {
    "num_hidden_layers": 4, "num_key_value_heads": 4, "linear_head_dim": 32, "linear_num_heads": 4,
    "linear_conv_kernel_dim": 4, "kv_lora_rank": 32, "qk_nope_head_dim": 24, "qk_rope_head_dim": 16, "v_head_dim": 16,
    "num_local_experts": 4, "num_experts_per_tok": 2, "n_shared_experts": 1, "moe_intermediate_size": 48,
    "rms_norm_eps": 1e-6, "layer_types": [*["linear_attention"] * 3, "full_attention"],
}  # fmt: skip


def with_pictures(sections, **more):
    """The configuration of a model with an encoder of pictures, and with M-RoPE if there are sections."""
    rope = {"rope_type": "default", "rope_theta": 1e6, **({"mrope_section": sections} if sections else {})}
    vision = {"depth": 1, "embed_dim": 32, "hidden_size": 64, "num_heads": 2, "intermediate_size": 32,
              "out_hidden_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}  # fmt: skip
    text = {**SIZES, **more, "rope_parameters": rope, "tie_word_embeddings": False}
    return {"text_config": text, "vision_config": vision, "tie_word_embeddings": False}


# Test name -> transformers class, configuration in addition to SIZES.
FAMILIES = {
    "llama": ("LlamaForCausalLM", {}),
    "llama-3": ("LlamaForCausalLM", {"rope_parameters": LLAMA3, "tie_word_embeddings": True}),
    "llama-linear": (
        "LlamaForCausalLM",
        {"rope_parameters": {"rope_type": "linear", "rope_theta": 1e4, "factor": 2.0}},
    ),
    "llama-biases": ("LlamaForCausalLM", {"attention_bias": True, "mlp_bias": True}),
    "mistral": ("MistralForCausalLM", {"head_dim": 32, "sliding_window": None}),
    "qwen2": ("Qwen2ForCausalLM", {}),
    "phi2": ("PhiForCausalLM", {"num_key_value_heads": 4}),
    "smollm3": ("SmolLM3ForCausalLM", {"num_hidden_layers": 5}),
    "granite": ("GraniteForCausalLM", GRANITE),
    "olmo2": ("Olmo2ForCausalLM", {}),
    "olmo3": ("Olmo3ForCausalLM", {"num_hidden_layers": 4, "sliding_window": 16}),
    "stablelm": ("StableLmForCausalLM", {"use_qkv_bias": True}),
    "stablelm-12b": ("StableLmForCausalLM", {"qk_layernorm": True, "use_parallel_residual": True}),
    "starcoder2": ("Starcoder2ForCausalLM", {"tie_word_embeddings": False, "sliding_window": 16}),
    "phi3": ("Phi3ForCausalLM", {"sliding_window": 16}),
    "phi3-long": ("Phi3ForCausalLM", {"rope_parameters": LONGROPE, "original_max_position_embeddings": 32}),
    "qwen3": ("Qwen3ForCausalLM", {"head_dim": 32}),
    "falcon-7b": ("FalconForCausalLM", {"new_decoder_architecture": False, "multi_query": True, "parallel_attn": True}),
    "falcon-40b": ("FalconForCausalLM", {"new_decoder_architecture": True, "num_kv_heads": 2}),
    "gemma": ("GemmaForCausalLM", {"head_dim": 32}),
    "gemma2": ("Gemma2ForCausalLM", {"head_dim": 32, "query_pre_attn_scalar": 32, "sliding_window": 16}),
    "gemma3": (
        "Gemma3ForCausalLM",
        {"head_dim": 32, "query_pre_attn_scalar": 32, "sliding_window": 16, "num_hidden_layers": 7},
    ),
    "gemma3n": ("Gemma3nForCausalLM", GEMMA3N),
    "gemma4": (
        "Gemma4ForCausalLM",
        {**GEMMA4, "hidden_size_per_layer_input": 32, "num_kv_shared_layers": 2, "use_double_wide_mlp": True},
    ),
    "gemma4-moe": (
        "Gemma4ForCausalLM",
        {
            **GEMMA4,
            **EXPERTS,
            "top_k_experts": 2,
            "enable_moe_block": True,
            "attention_k_eq_v": True,
            "num_global_key_value_heads": 1,
        },
    ),
    "gpt2": ("GPT2LMHeadModel", {"n_embd": 64, "n_layer": 3, "n_head": 4, "n_positions": 128, **NO_GROUPS}),
    "gptneox": ("GPTNeoXForCausalLM", {"rotary_pct": 0.5, **NO_GROUPS}),
    "mamba": ("MambaForCausalLM", {"intermediate_size": 128, "state_size": 8}),
    "falcon-mamba": ("FalconMambaForCausalLM", {"intermediate_size": 128, "state_size": 8, "mixer_rms_eps": 1e-5}),
    "mamba2": (
        "Mamba2ForCausalLM",
        {"state_size": 16, "head_dim": 16, "num_heads": 8, "n_groups": 2, "chunk_size": 8},
    ),
    "jamba": ("JambaForCausalLM", {**JAMBA, "num_hidden_layers": 4}),
    "mixtral": ("MixtralForCausalLM", {"num_local_experts": 4, "num_experts_per_tok": 2}),
    "olmoe": ("OlmoeForCausalLM", {"num_experts": 4, "num_experts_per_tok": 2}),
    "qwen2moe": ("Qwen2MoeForCausalLM", {**EXPERTS, "shared_expert_intermediate_size": 80}),
    "qwen3moe": ("Qwen3MoeForCausalLM", {**EXPERTS, "head_dim": 32, "norm_topk_prob": True}),
    "gpt-oss": ("GptOssForCausalLM", GPT_OSS),
    "flan-t5-tied": (
        "T5ForConditionalGeneration",
        {**T5, "feed_forward_proj": "gated-gelu", "tie_word_embeddings": False},
    ),
    "mt5": ("MT5ForConditionalGeneration", {**T5, "feed_forward_proj": "gated-gelu"}),
    "umt5": ("UMT5ForConditionalGeneration", {**T5, "feed_forward_proj": "gated-gelu"}),
    "deepseek2": (
        "DeepseekV2ForCausalLM",
        {**DEEPSEEK, "q_lora_rank": None, "topk_method": "greedy", "n_group": None, "topk_group": None},
    ),
    "deepseek3": ("DeepseekV3ForCausalLM", {**DEEPSEEK, "q_lora_rank": 24, "n_group": 2, "topk_group": 1}),
    "ernie4_5": ("Ernie4_5ForCausalLM", {"head_dim": 32}),
    "ernie4_5-moe": (
        "Ernie4_5_MoeForCausalLM",
        {"moe_num_experts": 4, "moe_k": 2, "moe_num_shared_experts": 1, "moe_intermediate_size": 48},
    ),
    "minimax-m2": (
        "MiniMaxM2ForCausalLM",
        {"num_local_experts": 4, "num_experts_per_tok": 2, "head_dim": 32, "rotary_dim": 16},
    ),
    "exaone4": (
        "Exaone4ForCausalLM",
        {"sliding_window": None, "layer_types": ["full_attention"] * 3, "rope_parameters": LLAMA3},
    ),
    "exaone4-windows": ("Exaone4ForCausalLM", {"num_hidden_layers": 4, "sliding_window": 16}),
    "exaone-moe": (
        "ExaoneMoeForCausalLM",
        {**EXPERTS, "num_hidden_layers": 4, "head_dim": 32, "sliding_window": 16},
    ),
    "command-r": ("CohereForCausalLM", {"logit_scale": 0.25}),
    "command-r-plus": ("CohereForCausalLM", {"logit_scale": 0.25, "use_qk_norm": True}),
    "cohere2": ("Cohere2ForCausalLM", {"logit_scale": 0.25, "num_hidden_layers": 4, "sliding_window": 16}),
    "cohere2moe": (
        "Cohere2MoeForCausalLM",
        {
            **EXPERTS,
            "logit_scale": 0.25,
            "num_hidden_layers": 5,
            "sliding_window": 16,
            "head_dim": 32,
            "first_k_dense_replace": 1,
            "num_shared_experts": 1,
            "expert_selection_fn": "sigmoid",
            "prefix_dense_intermediate_size": 128,
        },
    ),
    "hunyuan-dense": (
        "HunYuanDenseV1ForCausalLM",
        {"head_dim": 32, "rope_parameters": {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 1.0, "alpha": 50.0}},
    ),
    "hunyuan-moe": ("HunYuanMoEV1ForCausalLM", {"num_experts": 4, "moe_topk": [2, 2, 2], "head_dim": 32}),
    "hy_v3": ("HYV3ForCausalLM", {**EXPERTS, "head_dim": 32, "router_scaling_factor": 2.5}),
    "dots1": (
        "Dots1ForCausalLM",
        {
            "n_routed_experts": 4,
            "num_experts_per_tok": 2,
            "n_shared_experts": 1,
            "moe_intermediate_size": 48,
            "head_dim": 32,
            "first_k_dense_replace": 1,
            "routed_scaling_factor": 2.5,
            "n_group": 2,
            "topk_group": 1,
        },
    ),
    "arcee": ("ArceeForCausalLM", {"head_dim": 32}),
    "afmoe": (
        "AfmoeForCausalLM",
        {
            **EXPERTS,
            "num_hidden_layers": 4,
            "head_dim": 32,
            "sliding_window": 16,
            "num_shared_experts": 1,
            "route_scale": 2.5,
            "mup_enabled": True,
        },
    ),
    "mellum": ("MellumForCausalLM", {**EXPERTS, "head_dim": 32, "sliding_window": 16, "num_hidden_layers": 4}),
    "seed_oss": ("SeedOssForCausalLM", {"head_dim": 32, "attention_bias": True}),
    "jais2": ("Jais2ForCausalLM", {"head_dim": 32, "tie_word_embeddings": True}),
    "minicpm3": (
        "MiniCPM3ForCausalLM",
        {
            "num_key_value_heads": 4,
            "q_lora_rank": 32,
            "kv_lora_rank": 32,
            "qk_nope_head_dim": 24,
            "qk_rope_head_dim": 16,
            "v_head_dim": 16,
            "rope_parameters": LONGROPE,
        },
    ),
    "mimo2": (
        "MiMoV2FlashForCausalLM",
        {
            "n_routed_experts": 4,
            "num_experts_per_tok": 2,
            "moe_intermediate_size": 48,
            "head_dim": 32,
            "v_head_dim": 16,
            "sliding_window": 16,
        },
    ),
    "olmo": ("OlmoForCausalLM", {"clip_qkv": 0.5, "tie_word_embeddings": False}),
    "llama4": (
        "Llama4ForCausalLM",
        {
            "num_local_experts": 4,
            "num_experts_per_tok": 1,
            "num_hidden_layers": 4,
            "head_dim": 32,
            "intermediate_size_mlp": 128,
            "interleave_moe_layer_step": 2,
        },
    ),
    "laguna": (
        "LagunaForCausalLM",
        {
            **EXPERTS,
            "num_hidden_layers": 4,
            "head_dim": 32,
            "sliding_window": 16,
            "shared_expert_intermediate_size": 48,
            "num_attention_heads_per_layer": [2, 4, 4, 4],
        },
    ),
    "bloom": ("BloomForCausalLM", {"n_layer": 3, "n_head": 4, **NO_GROUPS}),
    "mpt": (
        "MptForCausalLM",
        {
            "d_model": 64,
            "n_heads": 4,
            "n_layers": 3,
            "max_seq_len": 128,
            **NO_GROUPS,
            "attn_config": {"alibi": True, "clip_qkv": 0.5},
        },
    ),
    "lfm2": ("Lfm2ForCausalLM", {**LFM2, "block_multiple_of": 32}),
    "lfm2-adjusted": ("Lfm2ForCausalLM", {**LFM2, "block_auto_adjust_ff_dim": False, "tie_word_embeddings": False}),
    "lfm2moe": ("Lfm2MoeForCausalLM", {**LFM2, **EXPERTS, "num_dense_layers": 1, "routed_scaling_factor": 2.0}),
    "granitemoe": (
        "GraniteMoeForCausalLM",
        {**GRANITE, "num_local_experts": 4, "num_experts_per_tok": 2, "tie_word_embeddings": True},
    ),
    "granitemoe-shared": ("GraniteMoeSharedForCausalLM", GRANITE_MOE),
    "granite_swa": ("GraniteSWAForCausalLM", {**GRANITE, "sliding_window": 16}),
    "granite_swa-moe": ("GraniteMoeSWAForCausalLM", {**GRANITE_MOE, "sliding_window": 16}),
    "granitehybrid": (
        "GraniteMoeHybridForCausalLM",
        {**GRANITE_MOE, **MAMBA2, "layer_types": ["linear_attention", "full_attention", "linear_attention"]},
    ),
    "granitehybrid-dense": (
        "GraniteMoeHybridForCausalLM",
        {
            **GRANITE_MOE,
            **MAMBA2,
            "num_local_experts": 0,
            "position_embedding_type": "rope",
            "layer_types": ["linear_attention", "full_attention", "full_attention"],
        },
    ),
    "bamba": ("BambaForCausalLM", {**MAMBA2, "attn_layer_indices": [1], "mlp_bias": True}),
    "chatglm": ("GlmForCausalLM", {"head_dim": 16, "attention_bias": True, "partial_rotary_factor": 0.5}),
    "glm4": ("Glm4ForCausalLM", {"head_dim": 32, "attention_bias": True, "partial_rotary_factor": 0.5}),
    "glm4moe": ("Glm4MoeForCausalLM", {**GLM4_MOE, "use_qk_norm": True, "attention_bias": True}),
    "solar-open": ("SolarOpenForCausalLM", {**GLM4_MOE, "first_k_dense_replace": 0}),
    "qwen2vl": ("Qwen2VLForConditionalGeneration", with_pictures([2, 3, 3])),
    "qwen2.5-vl": ("Qwen2_5_VLForConditionalGeneration", with_pictures([2, 3, 3])),
    "qwen3vl": ("Qwen3VLForConditionalGeneration", with_pictures([6, 5, 5], head_dim=32)),
    "qwen3vlmoe": ("Qwen3VLMoeForConditionalGeneration", with_pictures([6, 5, 5], head_dim=32, **EXPERTS)),
    "glm4moelite": (
        # norms of latents have eps 1e-6 in transformers, regardless of the configuration; GGUF has one eps for all
        "Glm4MoeLiteForCausalLM",
        {**DEEPSEEK, "q_lora_rank": 24, "n_group": 1, "topk_group": 1, "rms_norm_eps": 1e-6},
    ),
    "deepseek32": ("DeepseekV32ForCausalLM", SPARSE),
    "glm-dsa": ("GlmMoeDsaForCausalLM", {**SPARSE, "indexer_types": ["full", "shared", "full"]}),
    "mistral4": ("Mistral4ForCausalLM", {**DEEPSEEK, "q_lora_rank": 24, "rope_parameters": MISTRAL4}),
    "muse-glimmer": (
        "MuseGlimmerForConditionalGeneration",
        {**with_pictures(None, head_dim=32, sliding_window=16, num_hidden_layers=4), "projector_hidden_size": 32},
    ),
    "ministral3": ("Ministral3ForCausalLM", {"head_dim": 32, "rope_parameters": MINISTRAL3}),
    "nemotron": ("NemotronForCausalLM", {"head_dim": 16, "partial_rotary_factor": 0.5}),
    "nemotron_h": (
        "NemotronHForCausalLM",
        {**NEMOTRON_H, "layers_block_type": ["linear_attention", "mlp", "full_attention", "mlp"]},
    ),
    "nemotron_h_moe": (
        "NemotronHForCausalLM",
        {
            **NEMOTRON_H,
            "layers_block_type": ["linear_attention", "moe", "full_attention", "moe"],
            "n_routed_experts": 4,
            "moe_intermediate_size": 48,
            "moe_shared_expert_intermediate_size": 80,
            "moe_latent_size": 32,
            "routed_scaling_factor": 2.5,
            "hidden_size": 64,
        },
    ),
    "apertus": ("ApertusForCausalLM", {"rope_parameters": LLAMA3}),
    "apertus-plain": ("ApertusForCausalLM", {"rope_parameters": {"rope_type": "default", "rope_theta": 1e4}}),
    "falcon-h1": ("FalconH1ForCausalLM", FALCON_H1),
    "falcon-h1-tied": ("FalconH1ForCausalLM", {**FALCON_H1, "tie_word_embeddings": True}),
    "falcon-h1-norm": ("FalconH1ForCausalLM", {**FALCON_H1, "mamba_rms_norm": True, "mamba_norm_before_gate": False}),
    "qwen3next": ("Qwen3NextForCausalLM", {**DELTA, **DELTA_EXPERTS}),
    "qwen35": ("Qwen3_5ForCausalLM", DELTA),
    "qwen35-layers": (
        "Qwen3_5ForCausalLM",
        {**DELTA, "layer_types": ["full_attention", "linear_attention", "linear_attention", "full_attention"]},
    ),
    "qwen35moe": ("Qwen3_5MoeForCausalLM", {**DELTA, **DELTA_EXPERTS}),
    "kimi-linear": ("KimiLinearForCausalLM", KIMI_LINEAR),
    "pythia-serial": ("GPTNeoXForCausalLM", {"use_parallel_residual": False, **NO_GROUPS}),
}
