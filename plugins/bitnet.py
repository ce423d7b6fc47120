"""The BitNet family: bitnet (BitNet b1.58)."""

from collections.abc import Sequence

from realizar.arch import Architecture, Graph, HParams, Value, Weights, WeightTable, hookimpl
from realizar.arch.blocks import (
    embedding_tensors,
    norm_tensors,
    qkv,
    qkv_tensors,
    rotate,
    swiglu_tensors,
)


class BitNet(Architecture):
    """BitNet b1.58 3B (https://arxiv.org/abs/2402.17764): Llama with norms before the output products of each layer.

    The weights are -1, 0 or 1 times a factor, which some files hold as `NAME.scale`.
    """

    name = "bitnet"

    def tensors(self, hp: HParams) -> WeightTable:
        """Separate q, k, v; SwiGLU; the output is tied to the embedding."""
        return {
            **embedding_tensors(hp.n_vocab, hp.n_embd),
            **norm_tensors(hp.n_embd, "attn_norm", "ffn_norm"),
            **norm_tensors(hp.n_head * hp.head_dim_v, "attn_sub_norm"),
            **norm_tensors(hp.n_ff, "ffn_sub_norm"),
            **qkv_tensors(hp, bias=None, output_bias=None),
            **swiglu_tensors(hp.n_embd, hp.n_ff),
        }

    def build(self, g: Graph, w: Weights, hp: HParams) -> Value:
        """x += out(norm(attention(norm(x)))); x += down(norm(silu(gate) * up))."""
        x = g.embed(w.token_embd)
        for i, blk in enumerate(w.blk):
            q, k, v = qkv(g, g.rms_norm(x, blk.attn_norm, eps=hp.norm_eps), blk, hp)
            q, k = rotate(g, hp, "neox", q, k)
            a = g.attention(q, k, v, layer=i, scale=hp.head_dim**-0.5)
            x = x + g.linear(g.rms_norm(a, blk.attn_sub_norm, eps=hp.norm_eps), blk.attn_output)
            h = g.rms_norm(x, blk.ffn_norm, eps=hp.norm_eps)
            f = g.silu(g.linear(h, blk.ffn_gate)) * g.linear(h, blk.ffn_up)
            x = x + g.linear(g.rms_norm(f, blk.ffn_sub_norm, eps=hp.norm_eps), blk.ffn_down)
        return g.linear(g.rms_norm(x, w.output_norm, eps=hp.norm_eps), w.output)


@hookimpl
def realizar_architectures() -> Sequence[type[Architecture]]:
    """The architectures of this family."""
    return [BitNet]
