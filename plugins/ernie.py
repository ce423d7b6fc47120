"""Baidu's ERNIE 4.5 family: ernie4_5 and ernie4_5-moe."""

from collections.abc import Sequence
from typing import Any

from realizar.arch import (
    Architecture,
    ArchMetadata,
    Checkpoint,
    Graph,
    HParams,
    Value,
    Weights,
    WeightTable,
    hookimpl,
)
from realizar.arch.blocks import embedding_tensors, gqa, gqa_tensors, norm_tensors, swiglu_ffn, swiglu_tensors
from realizar.arch.checkpoint import ROUTED_KEYS, ROUTED_NAMES
from realizar.arch.experts import RoutedHParams, routed_ffn, routed_hparams, routed_tensors


class Ernie(Architecture):
    """ERNIE 4.5 0.3B (https://yiyan.baidu.com/blog/publication/ERNIE_Technical_Report.pdf): Llama's equations.

    Checkpoints and GGUF files rotate the same pairs, so the rows of q and k are not permuted.
    """

    name = "ernie4_5"
    checkpoint = Checkpoint(("Ernie4_5ForCausalLM", "Ernie4_5_ForCausalLM"))

    def tensors(self, hp: Any) -> WeightTable:
        """Separate q, k, v with optional biases; the output may be tied to the embedding."""
        return {
            **embedding_tensors(hp.n_vocab, hp.n_embd),
            **gqa_tensors(hp, bias=None, output_bias=None),
            **norm_tensors(hp.n_embd, "ffn_norm"),
            **self.feed_forward_tensors(hp),
        }

    def feed_forward_tensors(self, hp: HParams) -> WeightTable:
        """SwiGLU."""
        return swiglu_tensors(hp.n_embd, hp.n_ff)

    def build(self, g: Graph, w: Weights, hp: Any) -> Value:
        """x += attention(norm(x)); x += ffn(norm(x))."""
        x = g.embed(w.token_embd)
        for i, blk in enumerate(w.blk):
            x = x + gqa(g, g.rms_norm(x, blk.attn_norm, eps=hp.norm_eps), blk, hp, i, "norm")
            x = x + self.feed_forward(g, g.rms_norm(x, blk.ffn_norm, eps=hp.norm_eps), blk, hp, i)
        return g.linear(g.rms_norm(x, w.output_norm, eps=hp.norm_eps), w.output)

    def feed_forward(self, g: Graph, h: Value, blk: Any, hp: HParams, layer: int) -> Value:
        """SwiGLU."""
        return swiglu_ffn(g, h, blk)


class ErnieMoe(Ernie):
    """ERNIE 4.5 21B-A3B and 300B-A47B: dense layers, then experts chosen by a softmax with a bias, and shared ones."""

    name = "ernie4_5-moe"
    checkpoint = Checkpoint(
        classes=("Ernie4_5_MoeForCausalLM",),
        names={**ROUTED_NAMES, "blk.{i}.exp_probs_b": "layers.{i}.mlp.moe_statics.e_score_correction_bias"},
        keys={
            **ROUTED_KEYS,
            "expert_count": "moe_num_experts",
            "expert_used_count": "moe_k",
            "expert_shared_count": "moe_num_shared_experts",
            "leading_dense_block_count": "moe_layer_start_index",
            "interleave_moe_layer_step": "moe_layer_interval",
        },
        ignored=("*.mtp_*",),
    )

    def hparams(self, md: ArchMetadata) -> RoutedHParams:
        """The hyperparameters of this model."""
        return routed_hparams(super().hparams(md), md, "softmax", normalize=True)

    def feed_forward_tensors(self, hp: Any) -> WeightTable:
        """Dense feed-forwards, then experts."""
        return routed_tensors(hp)

    def feed_forward(self, g: Graph, h: Value, blk: Any, hp: Any, layer: int) -> Value:
        """A dense feed-forward or experts."""
        return routed_ffn(g, h, blk, hp, layer)


@hookimpl
def realizar_architectures() -> Sequence[type[Architecture]]:
    """The architectures of this family."""
    return [Ernie, ErnieMoe]
