"""Inclusion AI's Ling family: bailingmoe (Ling lite and plus) and bailingmoe2 (Ling and Ring 2.0, Sarvam)."""

from collections.abc import Sequence
from typing import Any

from realizar.arch import Architecture, ArchMetadata, Graph, Value, Weights, WeightTable, hookimpl
from realizar.arch.blocks import (
    embedding_tensors,
    gqa,
    gqa_tensors,
    norm_tensors,
    normed_gqa,
    normed_gqa_tensors,
)
from realizar.arch.experts import RoutedHParams, routed_ffn, routed_hparams, routed_tensors


class BailingMoe(Architecture):
    """Ling lite and Ling plus (https://arxiv.org/abs/2503.05139): experts chosen by a softmax, beside shared ones."""

    name = "bailingmoe"
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


class BailingMoe2(BailingMoe):
    """Ling 2.0 (https://arxiv.org/abs/2510.22115): q and k normalized, and partly rotated.

    Behind the dense layers, experts are chosen by sigmoids with a bias, of some groups of them.
    """

    name = "bailingmoe2"
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
