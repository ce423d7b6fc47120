"""Inclusion AI's Ling family: bailingmoe (Ling lite and plus) and bailingmoe2 (Ling and Ring 2.0, Sarvam)."""

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from realizar.arch import Architecture, ArchMetadata, Checkpoint, Graph, HParams, Value, Weights, WeightTable, hookimpl
from realizar.arch.blocks import (
    embedding_tensors,
    gqa,
    gqa_tensors,
    norm_tensors,
    normed_gqa,
    normed_gqa_tensors,
)
from realizar.arch.checkpoint import ROUTED_KEYS, ROUTED_NAMES, Array, permuted
from realizar.arch.experts import RoutedHParams, routed_ffn, routed_hparams, routed_tensors


def pairs(x: Array, hp: HParams) -> Array:
    """The fused tensor of q, k and v with the rows of q and k in the order of rotary pairs."""
    q, k, v = np.split(x, np.cumsum([hp.n_head * hp.head_dim, hp.n_head_kv * hp.head_dim]))
    return np.concatenate([permuted("n_head")(q, hp), permuted("n_head_kv")(k, hp), v])


class BailingMoe(Architecture):
    """Ling lite and Ling plus (https://arxiv.org/abs/2503.05139): experts chosen by a softmax, beside shared ones."""

    name = "bailingmoe"
    gating = "softmax"
    checkpoint: ClassVar[Checkpoint | None] = Checkpoint(
        classes=("BailingMoeForCausalLM",),
        names={
            **ROUTED_NAMES,
            "token_embd": "word_embeddings",
            "blk.{i}.attn_qkv": ("layers.{i}.attention.query_key_value", pairs),
            "blk.{i}.attn_output": "layers.{i}.attention.dense",
        },
        keys={**ROUTED_KEYS, "expert_shared_count": "num_shared_experts"},
        applies=lambda config: not config.get("norm_head"),  # a normalized output matrix
    )

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


class BailingMoe2(BailingMoe):
    """Ling 2.0 (https://arxiv.org/abs/2510.22115): q and k normalized, and partly rotated.

    Behind the dense layers, experts are chosen by sigmoids with a bias, of some groups of them.
    """

    name = "bailingmoe2"
    gating = "sigmoid"
    checkpoint = None

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
