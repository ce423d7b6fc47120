"""Inclusion AI's Ling family: bailingmoe (Ling lite and plus) and bailingmoe2 (Ling and Ring 2.0, Sarvam)."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from realizar.arch import Architecture, ArchMetadata, Checkpoint, Graph, Value, Weights, WeightTable, hookimpl
from realizar.arch.blocks import (
    embedding_tensors,
    gqa,
    gqa_tensors,
    norm_tensors,
    normed_gqa,
    normed_gqa_tensors,
)
from realizar.arch.checkpoint import ROUTED_KEYS, ROUTED_NAMES, Array, Config, Keys, Names, Transform, permuted, rows
from realizar.arch.experts import RoutedHParams, routed_ffn, routed_hparams, routed_tensors
from realizar.arch.rope_checkpoint import half_rope_dims, rope_dims

# What checkpoints of these classes may have and the equations do not.
ONLY = {"hidden_act": ("silu",), "use_bias": (False,), "multi_gate": (False, None), "use_sliding_window": (False,)}


def widths(hp: RoutedHParams) -> list[int]:
    """Numbers of rows of q, k and v."""
    return [hp.n_head * hp.head_dim, hp.n_head_kv * hp.head_dim, hp.n_head_kv * hp.head_dim_v]


def pairs(part: int, heads: str) -> Transform:
    """q (0) or k (1) of the fused tensor, rotary halves of its heads as pairs."""
    return lambda x, hp: permuted(heads)(rows(part, widths)(x, hp), hp)


def unit_columns(x: Array, hp: RoutedHParams) -> Array:
    """The output matrix of models with `norm_head`, whose columns are divided by their length."""
    unit: Array = x / (np.sqrt((x**2).sum(axis=0, keepdims=True)) + np.float32(1e-7))
    return unit


def names(config: Config) -> Names:
    """Names in checkpoints; facts of the transforms from llama.cpp's converter (conversion/bailingmoe.py)."""
    fused = "layers.{i}.attention.query_key_value"
    return {
        **ROUTED_NAMES,
        "token_embd": "word_embeddings|embed_tokens",
        "output": ("lm_head", unit_columns) if config.get("norm_head") else "lm_head",
        "blk.{i}.attn_q": (fused, pairs(0, "n_head")),
        "blk.{i}.attn_k": (fused, pairs(1, "n_head_kv")),
        "blk.{i}.attn_v": (fused, rows(2, widths)),
        "blk.{i}.attn_output": "layers.{i}.attention.dense",
    }


BAILING_KEYS: Keys = {
    **ROUTED_KEYS,
    "rope.dimension_count": rope_dims,
    "expert_shared_count": "num_shared_experts",
    "expert_weights_scale": lambda config: 1.0,
}


class BailingMoe(Architecture):
    """Ling lite and Ling plus (https://arxiv.org/abs/2503.05139): experts chosen by a softmax, beside shared ones."""

    name = "bailingmoe"
    checkpoint = Checkpoint(("BailingMoeForCausalLM",), names, BAILING_KEYS, only=ONLY)
    gating = "softmax"

    def hparams(self, md: ArchMetadata) -> RoutedHParams:
        """The hyperparameters of this model."""
        return routed_hparams(super().hparams(md), md, self.gating)

    def tensors(self, hp: RoutedHParams) -> WeightTable:
        """Fused or separate q, k, v; dense feed-forwards, then experts."""
        return {
            **embedding_tensors(hp.n_vocab, hp.n_embd, tied=False),
            **self.attention_tensors(hp),
            **norm_tensors(hp.n_embd, "ffn_norm"),
            **routed_tensors(hp),
        }

    def attention_tensors(self, hp: RoutedHParams) -> WeightTable:
        """The tensors of attention and of its norm."""
        return gqa_tensors(hp, bias=None, output_bias=None)

    def build(self, g: Graph, w: Weights, hp: RoutedHParams) -> Value:
        """x += attention(norm(x)); x += ffn(norm(x)) or experts(norm(x))."""
        x = g.embed(w.token_embd)
        for i, blk in enumerate(w.blk):
            x = x + self.attention(g, g.rms_norm(x, blk.attn_norm, eps=hp.norm_eps), blk, hp, i)
            x = x + routed_ffn(g, g.rms_norm(x, blk.ffn_norm, eps=hp.norm_eps), blk, hp, i)
        return g.linear(g.rms_norm(x, w.output_norm, eps=hp.norm_eps), w.output)

    def attention(self, g: Graph, h: Value, blk: Any, hp: RoutedHParams, layer: int) -> Value:
        """Attention with rotary pairs ("norm")."""
        return gqa(g, h, blk, hp, layer, "norm")


def shared_width(config: Config) -> int:
    """The width of all shared experts together."""
    own = config.get("moe_shared_expert_intermediate_size")
    return int(own or config["moe_intermediate_size"] * config["num_shared_experts"])


NAMES_2: Names = {
    **ROUTED_NAMES,
    "token_embd": "word_embeddings|embed_tokens",
    "blk.{i}.attn_qkv": "layers.{i}.attention.query_key_value",
    "blk.{i}.attn_q_norm": "layers.{i}.attention.query_layernorm",
    "blk.{i}.attn_k_norm": "layers.{i}.attention.key_layernorm",
    "blk.{i}.attn_output": "layers.{i}.attention.dense",
    "blk.{i}.exp_probs_b": "layers.{i}.mlp.gate.expert_bias",
}
KEYS_2: Keys = {
    **ROUTED_KEYS,
    "rope.dimension_count": half_rope_dims,
    "expert_shared_count": "num_shared_experts",
    "expert_shared_feed_forward_length": shared_width,
    "expert_gating_func": lambda config: 2,
}


class BailingMoe2(BailingMoe):
    """Ling 2.0 (https://arxiv.org/abs/2510.22115): q and k normalized, and partly rotated.

    Behind the dense layers, experts are chosen by sigmoids with a bias, of some groups of them.
    """

    name = "bailingmoe2"
    checkpoint = Checkpoint(
        ("BailingMoeV2ForCausalLM",), NAMES_2, KEYS_2,
        only={**ONLY, "score_function": ("sigmoid",), "use_qk_norm": (True,), "norm_head": (False, None)},
    )  # fmt: skip
    gating = "sigmoid"

    def attention_tensors(self, hp: RoutedHParams) -> WeightTable:
        """The tensors of attention and of its norms."""
        return normed_gqa_tensors(hp)

    def attention(self, g: Graph, h: Value, blk: Any, hp: RoutedHParams, layer: int) -> Value:
        """Attention with normalized q and k and rotary halves ("neox")."""
        return normed_gqa(g, h, blk, hp, layer, "neox")


@hookimpl
def realizar_architectures() -> Sequence[type[Architecture]]:
    """The architectures of this family."""
    return [BailingMoe, BailingMoe2]
