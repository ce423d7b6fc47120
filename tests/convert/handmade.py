"""Checkpoints made from tiny GGUF files: for each family, its config.json and the inverse of what convert does."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

EXPERTS = {"expert_count": 4, "expert_used_count": 2, "expert_feed_forward_length": 256}
SIZES = {
    "hidden_size": 256, "intermediate_size": 512, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "vocab_size": 288, "max_position_embeddings": 512, "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0, "tie_word_embeddings": False,
}  # fmt: skip
LLAMA = {
    "input_layernorm.weight": "attn_norm.weight",
    "self_attn.q_proj.weight": "attn_q.weight",
    "self_attn.k_proj.weight": "attn_k.weight",
    "self_attn.v_proj.weight": "attn_v.weight",
    "self_attn.o_proj.weight": "attn_output.weight",
    "post_attention_layernorm.weight": "ffn_norm.weight",
    "mlp.gate_proj.weight": "ffn_gate.weight",
    "mlp.up_proj.weight": "ffn_up.weight",
    "mlp.down_proj.weight": "ffn_down.weight",
}
WHOLE = {
    "model.embed_tokens.weight": "token_embd.weight",
    "model.norm.weight": "output_norm.weight",
    "lm_head.weight": "output.weight",
}


@dataclass(frozen=True)
class Family:
    """A family: metadata keys of the tiny file, config.json in addition to SIZES, and tensors of the checkpoint.

    `layers` and `whole` map a tensor of the checkpoint, in `prefix` or not in a layer, to a tensor of the file, or to a
    function of the tensors of the layer (or of all) that gives it. `fused` is whether the file has its fused and
    optional tensors.
    """

    arch: str
    keys: Mapping[str, Any]
    config: Mapping[str, Any]
    layers: Mapping[str, Any]
    whole: Mapping[str, Any]
    prefix: str = "model.layers."
    fused: bool = False


def halves(name: str, n_head: int) -> Callable[..., Any]:
    """Rotary pairs of each head apart again."""

    def make(t):
        heads = t(name).reshape(n_head, -1, t(name).shape[-1])
        return np.concatenate([np.concatenate([head[0::2], head[1::2]]) for head in heads])

    return make


def stack(*parts: Any) -> Callable[..., Any]:
    """Rows of several tensors, one after another."""
    return lambda t: np.concatenate([part(t) if callable(part) else t(part) for part in parts])


def less_one(name: str) -> Callable[..., Any]:
    """A norm that is stored as its weight less one."""
    return lambda t: t(name) - 1


def log(name: str, shape: tuple[int, ...] = (-1,)) -> Callable[..., Any]:
    """The logarithm of a decay."""
    return lambda t: np.log(-t(name)).reshape(shape)


def adjacent(x: Any, n_head_k: int, width: int) -> Any:
    """Value heads of a key head next to each other, where the file has them in turn."""
    heads = x.reshape(-1, width, *x.shape[1:])
    n_each = len(heads) // n_head_k
    return np.concatenate([heads[each * n_head_k + key] for key in range(n_head_k) for each in range(n_each)])


def tiled(name: str, width: int, kept: int = 0) -> Callable[..., Any]:
    """`adjacent` after the first rows; there are two key heads."""
    return lambda t: np.concatenate([t(name)[:kept], adjacent(t(name)[kept:], 2, width)])


def experts(name: str, form: str) -> dict[str, Any]:
    """Four experts as tensors of their own."""
    return {form.replace("{e}", str(e)): lambda t, e=e: t(name)[e] for e in range(4)}


def expert_tables(form: str, gate: str, up: str, down: str) -> dict[str, Any]:
    """The matrices of four experts, with these names."""
    names = {"ffn_gate_exps": gate, "ffn_up_exps": up, "ffn_down_exps": down}
    return {k: v for ours, theirs in names.items() for k, v in experts(f"{ours}.weight", form + theirs).items()}


SHARED = {
    "mlp.shared_experts.gate_proj.weight": "ffn_gate_shexp.weight",
    "mlp.shared_experts.up_proj.weight": "ffn_up_shexp.weight",
    "mlp.shared_experts.down_proj.weight": "ffn_down_shexp.weight",
}
ROUTED = {"mlp.gate.weight": "ffn_gate_inp.weight", **SHARED,
          **expert_tables("mlp.experts.{e}.", "gate_proj.weight", "up_proj.weight", "down_proj.weight")}  # fmt: skip
ROUTED_CONFIG = {
    "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 256, "num_shared_experts": 1,
    "first_k_dense_replace": 0, "norm_topk_prob": True, "hidden_act": "silu",
}  # fmt: skip
BAILING = {
    **{name: source for name, source in LLAMA.items() if "self_attn" not in name},
    **ROUTED,
    "attention.dense.weight": "attn_output.weight",
}
BAILING_WHOLE = {**WHOLE, "model.word_embeddings.weight": "token_embd.weight"}
LATENT = {
    "kv_lora_rank": 64, "qk_nope_head_dim": 64, "qk_rope_head_dim": 32, "v_head_dim": 64, "q_lora_rank": None,
}  # fmt: skip
DELTA_CONFIG = {
    "linear_conv_kernel_dim": 4, "linear_key_head_dim": 32, "linear_value_head_dim": 32, "linear_num_key_heads": 2,
    "linear_num_value_heads": 4, "layer_types": ["linear_attention", "full_attention"], "partial_rotary_factor": 0.25,
    "head_dim": 64, "hidden_act": "silu", "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 64,
    "shared_expert_intermediate_size": 512, "norm_topk_prob": True,
}  # fmt: skip
DELTA_KEYS = {
    "full_attention_interval": 2, "rope.dimension_count": 16, "ssm.conv_kernel": 4, "ssm.inner_size": 128,
    "ssm.state_size": 32, "ssm.time_step_rank": 4, "ssm.group_count": 2,
}  # fmt: skip
DELTA_EXPERTS = {"expert_count": 4, "expert_used_count": 2, "expert_feed_forward_length": 64,
                 "expert_shared_feed_forward_length": 512}  # fmt: skip
DELTA = {
    **LLAMA,
    "input_layernorm.weight": less_one("attn_norm.weight"),
    "post_attention_layernorm.weight": less_one("post_attention_norm.weight"),
    "self_attn.q_norm.weight": less_one("attn_q_norm.weight"),
    "self_attn.k_norm.weight": less_one("attn_k_norm.weight"),
    "linear_attn.norm.weight": "ssm_norm.weight",
    "mlp.gate.weight": "ffn_gate_inp.weight",
    "mlp.shared_expert_gate.weight": "ffn_gate_inp_shexp.weight",
    "mlp.shared_expert.gate_proj.weight": "ffn_gate_shexp.weight",
    "mlp.shared_expert.up_proj.weight": "ffn_up_shexp.weight",
    "mlp.shared_expert.down_proj.weight": "ffn_down_shexp.weight",
}
DELTA_WHOLE = {**WHOLE, "model.norm.weight": less_one("output_norm.weight")}


def conv(t):
    """The kernel of a depthwise convolution, (channels, 1, taps)."""
    return tiled("ssm_conv1d.weight", 32, 128)(t)[:, None]


QWEN35 = {
    **DELTA,
    "linear_attn.in_proj_qkv.weight": lambda t: t("ssm_a") is None or tiled("attn_qkv.weight", 32, 128)(t),
    "linear_attn.in_proj_z.weight": tiled("attn_gate.weight", 32),
    "linear_attn.in_proj_a.weight": tiled("ssm_alpha.weight", 1),
    "linear_attn.in_proj_b.weight": tiled("ssm_beta.weight", 1),
    "linear_attn.dt_bias": tiled("ssm_dt.bias", 1),
    "linear_attn.A_log": lambda t: np.log(-adjacent(t("ssm_a"), 2, 1)),
    "linear_attn.conv1d.weight": conv,
    "linear_attn.out_proj.weight": lambda t: adjacent(t("ssm_out.weight").T, 2, 32).T,
}


def qkvz(t):
    """For each of two key heads: its q, k, values and gates."""
    q, k, v = np.split(t("attn_qkv.weight"), [64, 128])
    parts = [part.reshape(2, -1, 256) for part in (q, k, v, t("attn_gate.weight"))]
    return np.concatenate([part[head] for head in range(2) for part in parts])


QWEN_NEXT = {
    **DELTA,
    **expert_tables("mlp.experts.{e}.", "gate_proj.weight", "up_proj.weight", "down_proj.weight"),
    "linear_attn.in_proj_qkvz.weight": qkvz,
    "linear_attn.in_proj_ba.weight": "ssm_ba.weight",
    "linear_attn.dt_bias": "ssm_dt.bias",
    "linear_attn.A_log": log("ssm_a"),
    "linear_attn.conv1d.weight": lambda t: t("ssm_conv1d.weight")[:, None],
    "linear_attn.out_proj.weight": "ssm_out.weight",
}


def kv_b(t):
    """For each head the rows of the key, which the file has transposed, then those of the value."""
    return np.concatenate([part for k, v in zip(t("attn_k_b.weight"), t("attn_v_b.weight"), strict=True)
                           for part in (k.T, v)])  # fmt: skip


MOE = "block_sparse_moe."
KIMI = {
    **LLAMA,
    MOE + "gate.weight": "ffn_gate_inp.weight",
    MOE + "gate.e_score_correction_bias": "exp_probs_b.bias",
    **expert_tables(MOE + "experts.{e}.", "w1.weight", "w3.weight", "w2.weight"),
    **{f"{MOE}shared_experts.{part}_proj.weight": f"ffn_{part}_shexp.weight" for part in ("gate", "up", "down")},
    **{f"self_attn.{part}_conv1d.weight": f"ssm_conv1d_{part}.weight" for part in "qkv"},
    **{f"self_attn.{ab}_proj.weight": f"ssm_{ab}.weight" for ab in ("f_a", "f_b", "g_a", "g_b")},
    "self_attn.dt_bias": "ssm_dt.bias",
    "self_attn.A_log": log("ssm_a", (1, 1, -1, 1)),
    "self_attn.b_proj.weight": "ssm_beta.weight",
    "self_attn.o_norm.weight": "ssm_norm.weight",
    "self_attn.kv_a_proj_with_mqa.weight": "attn_kv_a_mqa.weight",
    "self_attn.kv_a_layernorm.weight": "attn_kv_a_norm.weight",
    "self_attn.kv_b_proj.weight": kv_b,
}
STEP = {
    **LLAMA,
    "input_layernorm.weight": less_one("attn_norm.weight"),
    "post_attention_layernorm.weight": less_one("ffn_norm.weight"),
    "self_attn.q_norm.weight": less_one("attn_q_norm.weight"),
    "self_attn.k_norm.weight": less_one("attn_k_norm.weight"),
    "self_attn.g_proj.weight": "attn_gate.weight",
    "moe.gate.weight": "ffn_gate_inp.weight",
    "moe.router_bias": "exp_probs_b.bias",
    **{f"moe.{part}_proj.weight": f"ffn_{part}_exps.weight" for part in ("gate", "up", "down")},
    **{f"share_expert.{part}_proj.weight": f"ffn_{part}_shexp.weight" for part in ("gate", "up", "down")},
}
H1 = {
    "attention_in_multiplier": 2.0, "attention_out_multiplier": 0.5, "key_multiplier": 0.25, "ssm_in_multiplier": 0.5,
    "ssm_out_multiplier": 4.0, "embedding_multiplier": 8.0, "lm_head_multiplier": 0.125,
    "mlp_multipliers": [0.5, 2.0], "ssm_multipliers": [2.0, 0.25, 4.0, 0.5, 8.0],
}  # fmt: skip
FALCON_H1 = {
    "input_layernorm.weight": "attn_norm.weight",
    "self_attn.q_proj.weight": lambda t: t("attn_q.weight") / 2,
    "self_attn.k_proj.weight": lambda t: t("attn_k.weight") / 0.5,
    "self_attn.v_proj.weight": lambda t: t("attn_v.weight") / 2,
    "self_attn.o_proj.weight": lambda t: t("attn_output.weight") / 0.5,
    "mamba.in_proj.weight": lambda t: (
        t("ssm_in.weight") / 0.5 / np.repeat([2, 0.25, 4, 0.5, 8], [512, 512, 32, 32, 8])[:, None]
    ),
    "mamba.conv1d.weight": lambda t: t("ssm_conv1d.weight")[:, None],
    "mamba.conv1d.bias": "ssm_conv1d.bias",
    "mamba.dt_bias": "ssm_dt.bias",
    "mamba.A_log": log("ssm_a"),
    "mamba.D": lambda t: t("ssm_d").reshape(-1),
    "mamba.out_proj.weight": lambda t: t("ssm_out.weight") / 4,
    "pre_ff_layernorm.weight": "ffn_norm",
    "feed_forward.gate_proj.weight": lambda t: t("ffn_gate.weight") / 0.5,
    "feed_forward.up_proj.weight": "ffn_up.weight",
    "feed_forward.down_proj.weight": lambda t: t("ffn_down.weight") / 2,
}
FALCON_H1_WHOLE = {
    "model.embed_tokens.weight": lambda t: t("token_embd.weight") / 8,
    "model.final_layernorm.weight": "output_norm.weight",
    "lm_head.weight": lambda t: t("output.weight") / 0.125,
}
OPENELM = {
    "attn_norm.weight": "attn_norm.weight",
    "attn.qkv_proj.weight": stack("attn_q.weight", "attn_k.weight", "attn_v.weight"),
    "attn.q_norm.weight": "attn_q_norm.weight",
    "attn.k_norm.weight": "attn_k_norm.weight",
    "attn.out_proj.weight": "attn_output.weight",
    "ffn_norm.weight": "ffn_norm.weight",
    "ffn.proj_1.weight": stack("ffn_gate.weight", "ffn_up.weight"),
    "ffn.proj_2.weight": "ffn_down.weight",
}

FAMILIES = {
    "bailingmoe": Family(
        "bailingmoe", {**EXPERTS, "expert_shared_count": 1, "expert_weights_norm": True},
        {"architectures": ["BailingMoeForCausalLM"], **ROUTED_CONFIG},
        {**BAILING, "attention.query_key_value.weight": stack(
            halves("attn_q.weight", 4), halves("attn_k.weight", 2), "attn_v.weight")},
        BAILING_WHOLE,
    ),
    "bailingmoe2": Family(
        "bailingmoe2",
        {**EXPERTS, "expert_shared_count": 1, "leading_dense_block_count": 1, "rope.dimension_count": 32,
         "expert_group_count": 2, "expert_group_used_count": 1, "expert_weights_norm": True,
         "expert_weights_scale": 2.5},
        {"architectures": ["BailingMoeV2ForCausalLM"], **ROUTED_CONFIG, "first_k_dense_replace": 1, "n_group": 2,
         "topk_group": 1, "score_function": "sigmoid", "use_qk_norm": True, "routed_scaling_factor": 2.5},
        {**BAILING, "attention.query_key_value.weight": "attn_qkv.weight",
         "attention.query_key_value.bias": "attn_qkv.bias", "attention.dense.bias": "attn_output.bias",
         "attention.query_layernorm.weight": "attn_q_norm.weight",
         "attention.key_layernorm.weight": "attn_k_norm.weight", "mlp.gate.expert_bias": "exp_probs_b.bias"},
        BAILING_WHOLE, fused=True,
    ),
    "maincoder": Family(
        "maincoder", {"attention.key_length": 64, "attention.value_length": 64},
        {"architectures": ["MaincoderForCausalLM"], "intermediate_size": 999, "intermediate_size_mlp": 512,
         "use_qk_norm": True, "head_dim": 64},
        {**LLAMA, "self_attn.q_norm.weight": "attn_q_norm.weight", "self_attn.k_norm.weight": "attn_k_norm.weight",
         **{f"feed_forward.{part}_proj.weight": f"ffn_{part}.weight" for part in ("gate", "up", "down")}},
        WHOLE,
    ),
    "plm": Family(
        "plm",
        {"attention.kv_lora_rank": 64, "attention.key_length": 96, "attention.value_length": 64,
         "rope.dimension_count": 32},
        {"architectures": ["PLMForCausalLM"], **LATENT, "hidden_act": "relu2", "rope_scaling": None},
        {**LLAMA, "self_attn.kv_a_proj_with_mqa.weight": "attn_kv_a_mqa.weight",
         "self_attn.kv_a_layernorm.weight": "attn_kv_a_norm.weight", "self_attn.kv_b_proj.weight": "attn_kv_b.weight"},
        WHOLE,
    ),
    "apertus": Family(
        "apertus",
        {"xielu.alpha_p": [0.9, 0.8], "xielu.alpha_n": [0.7, 0.6], "xielu.beta": [0.5, 0.25],
         "xielu.eps": [-1e-6, -1e-6]},
        {"architectures": ["ApertusForCausalLM"], "hidden_act": "xielu"},
        {**LLAMA, "attention_layernorm.weight": "attn_norm.weight", "feedforward_layernorm.weight": "ffn_norm.weight",
         "self_attn.q_norm.weight": "attn_q_norm.weight", "self_attn.k_norm.weight": "attn_k_norm.weight",
         **{f"mlp.act_fn.{name}": lambda t, key=f"xielu.{name}": t(key) for name in ("alpha_p", "alpha_n", "beta")},
         "mlp.act_fn.eps": lambda t: np.float32(-1e-6)},
        WHOLE,
    ),
    "openelm": Family(
        "openelm",
        {"attention.head_count": [2, 4], "attention.head_count_kv": [1, 2], "feed_forward_length": [256, 512],
         "attention.key_length": 64, "attention.value_length": 64, "attention.layer_norm_rms_epsilon": 1e-6},
        {"architectures": ["OpenELMForCausalLM"], "model_dim": 256, "num_transformer_layers": 2, "head_dim": 64,
         "num_query_heads": [2, 4], "num_kv_heads": [1, 2], "ffn_multipliers": [1.0, 2.1], "ffn_dim_divisor": 256,
         "max_context_length": 512, "rope_freq_constant": 10000, "share_input_output_layers": True,
         "ffn_with_glu": True, "activation_fn_name": "swish"},
        OPENELM,
        {"transformer.token_embeddings.weight": "token_embd.weight", "transformer.norm.weight": "output_norm.weight"},
        prefix="transformer.layers.",
    ),
    "smallthinker": Family(
        "smallthinker",
        {**EXPERTS, "attention.sliding_window": 16, "attention.sliding_window_pattern": [False, True],
         "expert_gating_func": 2},
        {"architectures": ["SmallThinkerForCausalLM"], "moe_num_primary_experts": 4,
         "moe_num_active_primary_experts": 2, "moe_ffn_hidden_size": 256, "sliding_window_layout": [0, 1],
         "rope_layout": [0, 1], "sliding_window_size": 16, "moe_primary_router_apply_softmax": False},
        {**LLAMA, MOE + "primary_router.weight": "ffn_gate_inp.weight",
         **expert_tables(MOE + "experts.{e}.", "gate.weight", "up.weight", "down.weight")},
        WHOLE,
    ),
    "step35": Family(
        "step35",
        {**EXPERTS, "attention.head_count": [2, 4], "attention.head_count_kv": [1, 2], "attention.key_length": 64,
         "attention.value_length": 64, "attention.sliding_window": 16, "expert_shared_count": 1,
         "attention.sliding_window_pattern": [False, True], "swiglu_clamp_exp": [0.5, 0.0],
         "swiglu_clamp_shexp": [0.0, 0.4], "expert_weights_norm": True, "expert_weights_scale": 3.0,
         "rope.freq_base": 5e6},
        {"architectures": ["Step3p5ForCausalLM"], "num_attention_heads": 2, "num_attention_groups": 1, "head_dim": 64,
         "attention_other_setting": {"num_attention_heads": 4, "num_attention_groups": 2}, "sliding_window": 16,
         "layer_types": ["full_attention", "sliding_attention", "full_attention"], "moe_num_experts": 4,
         "moe_top_k": 2, "moe_intermediate_size": 256, "share_expert_dim": 256, "norm_expert_weight": True,
         "moe_router_scaling_factor": 3.0, "moe_router_activation": "sigmoid", "swiglu_limits": [0.5, None, 7],
         "swiglu_limits_shared": [0, 0.4, 0], "rope_theta": [5e6, 1e4, 5e6], "num_key_value_heads": None,
         "partial_rotary_factors": [0.5, 1.0, 0.5]},
        STEP, DELTA_WHOLE, fused=True,
    ),
    "falcon-h1": Family(
        "falcon-h1",
        {"ssm.conv_kernel": 4, "ssm.inner_size": 512, "ssm.state_size": 16, "ssm.time_step_rank": 8,
         "ssm.group_count": 2, "attention.key_length": 64, "attention.value_length": 64},
        {"architectures": ["FalconH1ForCausalLM"], **H1, "head_dim": 64, "mamba_d_ssm": 512, "mamba_n_heads": 8,
         "mamba_n_groups": 2, "mamba_d_state": 16, "mamba_d_conv": 4, "mamba_rms_norm": False},
        FALCON_H1, FALCON_H1_WHOLE,
    ),
    "qwen35": Family(
        "qwen35", {**DELTA_KEYS, "attention.key_length": 64, "attention.value_length": 64},
        {"architectures": ["Qwen3_5ForCausalLM"], **DELTA_CONFIG, "num_experts": None},
        QWEN35, DELTA_WHOLE,
    ),
    "qwen35moe": Family(
        "qwen35moe", {**DELTA_KEYS, **DELTA_EXPERTS, "attention.key_length": 64, "attention.value_length": 64},
        {"architectures": ["Qwen3_5MoeForCausalLM"], **DELTA_CONFIG},
        {**QWEN35, "mlp.experts.gate_up_proj": "ffn_gate_up_exps.weight",
         "mlp.experts.down_proj": "ffn_down_exps.weight"},
        DELTA_WHOLE, fused=True,
    ),
    "qwen3next": Family(
        "qwen3next", {**DELTA_KEYS, **DELTA_EXPERTS, "attention.key_length": 64, "attention.value_length": 64},
        {"architectures": ["Qwen3NextForCausalLM"], **DELTA_CONFIG},
        QWEN_NEXT, DELTA_WHOLE,
    ),
    "kimi-linear": Family(
        "kimi-linear",
        {"block_count": 3, "attention.head_count_kv": [0, 1, 0], "attention.key_length_mla": 48,
         "attention.value_length_mla": 32, "attention.kv_lora_rank": 64, "rope.dimension_count": 16,
         "ssm.conv_kernel": 4, "kda.head_dim": 40, "leading_dense_block_count": 1, "expert_shared_count": 1,
         "expert_weights_scale": 2.446, "expert_count": 4, "expert_used_count": 2, "expert_feed_forward_length": 64},
        {"architectures": ["KimiLinearForCausalLM"], "num_hidden_layers": 3, "kv_lora_rank": 64, "q_lora_rank": None,
         "qk_nope_head_dim": 32, "qk_rope_head_dim": 16, "v_head_dim": 32, "num_experts": 4,
         "num_experts_per_token": 2, "moe_intermediate_size": 64, "num_shared_experts": 1, "moe_renormalize": True,
         "routed_scaling_factor": 2.446, "first_k_dense_replace": 1, "moe_router_activation_func": "sigmoid",
         "mla_use_nope": True, "model_max_length": 512, "head_dim": 16,
         "linear_attn_config": {"head_dim": 40, "num_heads": 4, "short_conv_kernel_size": 4,
                                "full_attn_layers": [2], "kda_layers": [1, 3]}},
        KIMI, WHOLE,
    ),
}  # fmt: skip
