"""Checkpoints of Qwen's gated delta nets: names, keys and transforms.

Norms but that of a delta net are stored as their weight less one; tensors are sorted by heads of keys or values. The
facts are those of llama.cpp's converter (conversion/qwen.py).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from realizar.arch.checkpoint import Array, Config, Keys, Names, Transform, negative_exp, one_more
from realizar.arch.rope_checkpoint import quarter_rope_dims, rope_parameters

NAMES: Names = {
    "output_norm": ("norm", one_more),
    "blk.{i}.attn_norm": ("layers.{i}.input_layernorm", one_more),
    "blk.{i}.post_attention_norm": ("layers.{i}.post_attention_layernorm", one_more),
    "blk.{i}.attn_q_norm": ("layers.{i}.self_attn.q_norm", one_more),
    "blk.{i}.attn_k_norm": ("layers.{i}.self_attn.k_norm", one_more),
    "blk.{i}.ssm_norm": "layers.{i}.linear_attn.norm",
    "blk.{i}.ffn_gate_inp_shexp": "layers.{i}.mlp.shared_expert_gate",
    "blk.{i}.ffn_gate_shexp": "layers.{i}.mlp.shared_expert.gate_proj",
    "blk.{i}.ffn_up_shexp": "layers.{i}.mlp.shared_expert.up_proj",
    "blk.{i}.ffn_down_shexp": "layers.{i}.mlp.shared_expert.down_proj",
}


def interval(config: Config) -> int | None:
    """Every how manieth layer attends; None if they do not follow each other so."""
    kinds = config.get("layer_types")
    if not kinds:
        return int(config.get("full_attention_interval", 4))
    flags = [kind == "full_attention" for kind in kinds]
    period = flags.index(True) + 1 if any(flags) else len(flags) + 1
    return period if flags == [(i + 1) % period == 0 for i in range(len(flags))] else None


def recurrent(config: Config) -> list[bool] | None:
    """Which layers are recurrent, if the interval does not tell."""
    return None if interval(config) else [kind != "full_attention" for kind in config["layer_types"]]


def sections(config: Config) -> list[int]:
    """Number of rotary frequencies of each axis of positions; a text alone has equal positions on all."""
    return [*(rope_parameters(config).get("mrope_section") or [11, 11, 10]), 0]


KEYS: Keys = {
    "full_attention_interval": interval,
    "attention.recurrent_layers": recurrent,
    "rope.dimension_count": quarter_rope_dims,
    "ssm.conv_kernel": "linear_conv_kernel_dim",
    "ssm.state_size": "linear_key_head_dim",
    "ssm.group_count": "linear_num_key_heads",
    "ssm.time_step_rank": "linear_num_value_heads",
    "ssm.inner_size": lambda config: config["linear_num_value_heads"] * config["linear_value_head_dim"],
    "expert_feed_forward_length": "moe_intermediate_size",
    "expert_shared_feed_forward_length": "shared_expert_intermediate_size",
}
ONLY: dict[str, tuple[Any, ...]] = {
    "hidden_act": ("silu",),
    "attention_bias": (False,),
    "attn_output_gate": (True,),
    "norm_topk_prob": (True,),
    "decoder_sparse_step": (1,),
    "mlp_only_layers": ([], None),
}


def tiled(x: Array, hp: Any, width: int) -> Array:
    """Rows of value heads, `width` each: from adjacent heads with the same key head to heads that take turns."""
    return x.reshape(hp.delta.n_head_k, -1, width, *x.shape[1:]).swapaxes(0, 1).reshape(x.shape)


def tiled_heads(x: Array, hp: Any) -> Array:
    """One row for each value head."""
    return tiled(x, hp, 1)


def tiled_values(x: Array, hp: Any) -> Array:
    """The rows of all values."""
    return tiled(x, hp, hp.delta.head_dim_v)


def tiled_outputs(x: Array, hp: Any) -> Array:
    """The columns of the output projection."""
    return tiled_values(x.T, hp).T


def tiled_qkv(x: Array, hp: Any) -> Array:
    """The rows of q, k and values, of which the values are sorted."""
    n_qk = 2 * hp.delta.parts[0]
    return np.concatenate([x[:n_qk], tiled_values(x[n_qk:], hp)])


def tiled_decay(x: Array, hp: Any) -> Array:
    """The decays, of which the checkpoint stores the logarithm."""
    return negative_exp(tiled_heads(x, hp), hp)


NAMES_TILED: Names = {
    **NAMES,
    "blk.{i}.attn_qkv": ("layers.{i}.linear_attn.in_proj_qkv", tiled_qkv),
    "blk.{i}.attn_gate": ("layers.{i}.linear_attn.in_proj_z", tiled_values),
    "blk.{i}.ssm_conv1d": ("layers.{i}.linear_attn.conv1d", tiled_qkv),
    "blk.{i}.ssm_dt": ("layers.{i}.linear_attn.dt_bias", tiled_heads),
    "blk.{i}.ssm_a": ("layers.{i}.linear_attn.A_log", tiled_decay),
    "blk.{i}.ssm_alpha": ("layers.{i}.linear_attn.in_proj_a", tiled_heads),
    "blk.{i}.ssm_beta": ("layers.{i}.linear_attn.in_proj_b", tiled_heads),
    "blk.{i}.ssm_out": ("layers.{i}.linear_attn.out_proj", tiled_outputs),
}
NAMES_MOE: Names = {
    **NAMES_TILED,
    "blk.{i}.ffn_gate_up_exps": "layers.{i}.mlp.experts.gate_up_proj",
    "blk.{i}.ffn_down_exps": "layers.{i}.mlp.experts.down_proj|layers.{i}.mlp.experts.{e}.down_proj",
}
"""Of Qwen 3.5 with experts, which are stacked or not."""
KEYS_MROPE: Keys = {**KEYS, "rope.dimension_sections": sections}


def by_head(first: int, last: int) -> Transform:
    """Of Qwen 3 Next's tensor, which has q, k, values and gates of each key head in turn, parts `first` to `last`."""

    def transform(x: Array, hp: Any) -> Array:
        net = hp.delta
        width = net.parts[2] // net.n_head_k
        ends = np.cumsum([net.head_dim_k, net.head_dim_k, width])
        parts = np.split(x.reshape(net.n_head_k, -1, x.shape[-1]), ends, axis=1)[first : last + 1]
        return np.concatenate([part.reshape(-1, x.shape[-1]) for part in parts])

    return transform


NAMES_NEXT: Names = {
    **NAMES,
    "blk.{i}.attn_qkv": ("layers.{i}.linear_attn.in_proj_qkvz", by_head(0, 2)),
    "blk.{i}.attn_gate": ("layers.{i}.linear_attn.in_proj_qkvz", by_head(3, 3)),
    "blk.{i}.ssm_ba": "layers.{i}.linear_attn.in_proj_ba",
    "blk.{i}.ssm_conv1d": "layers.{i}.linear_attn.conv1d",
    "blk.{i}.ssm_dt": "layers.{i}.linear_attn.dt_bias",
    "blk.{i}.ssm_a": ("layers.{i}.linear_attn.A_log", negative_exp),
    "blk.{i}.ssm_out": "layers.{i}.linear_attn.out_proj",
}
