"""Toy: a decoder with sliding-window layers, a recurrent state and two programs."""

from collections.abc import Mapping, Sequence
from typing import Any

from realizar.arch import Architecture, Graph, HParams, Value, Weight, Weights, WeightTable, hookimpl
from realizar.arch.blocks import embedding_tensors, gqa_tensors, swiglu_ffn, swiglu_tensors

N_TAP = 4
WINDOW = 20


class Toy(Architecture):
    """Even layers have full attention, odd ones a sliding window; each begins with a causal convolution."""

    name = "toy"

    def tensors(self, hp: HParams) -> WeightTable:
        """Llama's tensors, a convolution for each layer and a layer norm at the end."""
        return {
            **embedding_tensors(hp.n_vocab, hp.n_embd),
            "output_norm": Weight((hp.n_embd,), bias=True),
            **gqa_tensors(hp, bias=None),
            "blk.{i}.conv": Weight((hp.n_embd, N_TAP)),
            "blk.{i}.ffn_norm": Weight((hp.n_embd,)),
            **swiglu_tensors(hp.n_embd, hp.n_ff),
        }

    def hidden(self, g: Graph, w: Weights, hp: HParams) -> Value:
        """The residual stream after the last layer."""
        x = g.embed(w.token_embd)
        for i, blk in enumerate(w.blk):
            h = g.rms_norm(x, blk.attn_norm, eps=hp.norm_eps)
            h = h + g.silu(g.causal_conv1d(h, blk.conv, g.state(i, (N_TAP - 1, hp.n_embd))))
            q, k = (
                g.rope(g.heads(g.linear(h, weight), n), style="neox", dims=hp.rope_dims // 2, base=hp.rope_base)
                for weight, n in ((blk.attn_q, hp.n_head), (blk.attn_k, hp.n_head_kv))
            )
            v = g.heads(g.linear(h, blk.attn_v), hp.n_head_kv)
            a = g.attention(q, k, v, layer=i, scale=hp.head_dim**-0.5, window=WINDOW if i % 2 else 0)
            x = x + g.linear(a, blk.attn_output)
            x = x + 0.5 * swiglu_ffn(g, g.rms_norm(x, blk.ffn_norm, eps=hp.norm_eps), blk)
        return g.layer_norm(x, w.output_norm, eps=hp.norm_eps)

    def build(self, g: Graph, w: Weights, hp: HParams) -> Value:
        """Logits of the next token."""
        return g.linear(self.hidden(g, w, hp), w.output)

    def embed(self, g: Graph, w: Weights, hp: HParams) -> Mapping[str, Value]:
        """The normed hidden state, for similarity search."""
        return {"embedding": self.hidden(g, w, hp)}

    def programs(self) -> Mapping[str, Any]:
        """Decoding and embedding."""
        return {"decode": self.build, "embed": self.embed}


@hookimpl
def realizar_architectures() -> Sequence[type[Architecture]]:
    """The one architecture of this package."""
    return [Toy]
