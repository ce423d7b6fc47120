"""Apple's OpenELM family: openelm."""

from collections.abc import Sequence

from realizar.arch import Architecture, Graph, HParams, Value, Weights, WeightTable, hookimpl
from realizar.arch.blocks import (
    embedding_tensors,
    layer_tensors,
    norm_tensors,
    normed_gqa,
    normed_qkv_tensors,
    swiglu_ffn,
    swiglu_tensors,
)


class OpenELM(Architecture):
    """OpenELM (https://arxiv.org/abs/2404.14619): Qwen 3's layers, each with its own number of heads and width."""

    name = "openelm"
    varies = ("n_head", "n_head_kv", "n_ff")

    def tensors(self, hp: HParams) -> WeightTable:
        """Fused q, k, v with norms over a head; SwiGLU; the output is tied to the embedding."""
        table = {**embedding_tensors(hp.n_vocab, hp.n_embd), **norm_tensors(hp.n_embd, "attn_norm", "ffn_norm")}
        for i in range(hp.n_layer):
            own = hp.layer(i)
            table.update(layer_tensors(i, normed_qkv_tensors(own), swiglu_tensors(hp.n_embd, own.n_ff)))
        return table

    def build(self, g: Graph, w: Weights, hp: HParams) -> Value:
        """x += attention(norm(x)); x += ffn(norm(x))."""
        x = g.embed(w.token_embd)
        for i, blk in enumerate(w.blk):
            x = x + normed_gqa(g, g.rms_norm(x, blk.attn_norm, eps=hp.norm_eps), blk, hp.layer(i), i, "neox")
            x = x + swiglu_ffn(g, g.rms_norm(x, blk.ffn_norm, eps=hp.norm_eps), blk)
        return g.linear(g.rms_norm(x, w.output_norm, eps=hp.norm_eps), w.output)


@hookimpl
def realizar_architectures() -> Sequence[type[Architecture]]:
    """The architectures of this family."""
    return [OpenELM]
