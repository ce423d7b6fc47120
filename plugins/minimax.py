"""The MiniMax family: minimax-m2."""

from collections.abc import Sequence

from realizar.arch import Architecture, ArchMetadata, Checkpoint, Graph, Value, Weights, WeightTable, hookimpl
from realizar.arch.blocks import (
    embedding_tensors,
    norm_tensors,
    rotate,
    wide_normed_qkv,
    wide_normed_qkv_tensors,
)
from realizar.arch.checkpoint import MIXTRAL_EXPERTS
from realizar.arch.experts import RoutedHParams, routed_ffn, routed_hparams, routed_tensors
from realizar.arch.rope_checkpoint import rope_dims


class MiniMaxM2(Architecture):
    """MiniMax M2 (https://github.com/MiniMax-AI/MiniMax-M2): experts chosen by sigmoids with a bias.

    q and k are normalized over their whole width, and half of each head is rotated.
    """

    name = "minimax-m2"
    checkpoint = Checkpoint(
        classes=("MiniMaxM2ForCausalLM",),
        names={**MIXTRAL_EXPERTS, "blk.{i}.exp_probs_b": "layers.{i}.block_sparse_moe.e_score_correction_bias"},
        keys={
            "rope.dimension_count": lambda config: config.get("rotary_dim") or rope_dims(config),
            "expert_feed_forward_length": "intermediate_size",
            "expert_gating_func": lambda config: 2,
        },
    )

    def hparams(self, md: ArchMetadata) -> RoutedHParams:
        """The hyperparameters of this model."""
        return routed_hparams(super().hparams(md), md, "sigmoid", normalize=True)

    def tensors(self, hp: RoutedHParams) -> WeightTable:
        """Separate q, k, v with their norms; experts."""
        return {
            **embedding_tensors(hp.n_vocab, hp.n_embd, tied=False),
            **norm_tensors(hp.n_embd, "attn_norm", "ffn_norm"),
            **wide_normed_qkv_tensors(hp),
            **routed_tensors(hp),
        }

    def build(self, g: Graph, w: Weights, hp: RoutedHParams) -> Value:
        """x += attention(norm(x)); x += experts(norm(x))."""
        x = g.embed(w.token_embd)
        for i, blk in enumerate(w.blk):
            q, k, v = wide_normed_qkv(g, g.rms_norm(x, blk.attn_norm, eps=hp.norm_eps), blk, hp)
            q, k = rotate(g, hp, "neox", q, k)
            x = x + g.linear(g.attention(q, k, v, layer=i, scale=hp.head_dim**-0.5), blk.attn_output)
            x = x + routed_ffn(g, g.rms_norm(x, blk.ffn_norm, eps=hp.norm_eps), blk, hp, i)
        return g.linear(g.rms_norm(x, w.output_norm, eps=hp.norm_eps), w.output)


@hookimpl
def realizar_architectures() -> Sequence[type[Architecture]]:
    """The architectures of this family."""
    return [MiniMaxM2]
