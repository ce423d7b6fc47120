"""Small pieces that several families share; each at most ten lines."""

from __future__ import annotations

from typing import Any

from realizar.arch.architecture import Weight, WeightTable
from realizar.graph import Graph, Value


def swiglu_ffn(g: Graph, x: Value, blk: Any) -> Value:
    """down(silu(gate(x)) * up(x)), the feed-forward of Llama (https://arxiv.org/abs/2002.05202)."""
    return g.linear(g.silu(g.linear(x, blk.ffn_gate)) * g.linear(x, blk.ffn_up), blk.ffn_down)


def swiglu_tensors(n_embd: int, n_ff: int, bias: bool | None = False) -> WeightTable:
    """The tensors of `swiglu_ffn`."""
    return {
        "blk.{i}.ffn_gate": Weight((n_ff, n_embd), bias=bias),
        "blk.{i}.ffn_up": Weight((n_ff, n_embd), bias=bias),
        "blk.{i}.ffn_down": Weight((n_embd, n_ff), bias=bias),
    }


def embedding_tensors(n_vocab: int, n_embd: int) -> WeightTable:
    """Token embedding, final norm and an output matrix that may be tied to the embedding."""
    return {
        "token_embd": Weight((n_vocab, n_embd)),
        "output_norm": Weight((n_embd,)),
        "output": Weight((n_vocab, n_embd), alias="token_embd"),
    }


def gqa_tensors(hp: Any, bias: bool | None = False, output_bias: bool | None = False) -> WeightTable:
    """Attention with separate q, k and v, fewer KV heads than heads, and its norm."""
    return {
        "blk.{i}.attn_norm": Weight((hp.n_embd,)),
        "blk.{i}.attn_q": Weight((hp.n_head * hp.head_dim, hp.n_embd), bias=bias),
        "blk.{i}.attn_k": Weight((hp.n_head_kv * hp.head_dim, hp.n_embd), bias=bias),
        "blk.{i}.attn_v": Weight((hp.n_head_kv * hp.head_dim_v, hp.n_embd), bias=bias),
        "blk.{i}.attn_output": Weight((hp.n_embd, hp.n_head * hp.head_dim_v), bias=output_bias),
    }


def fused_qkv(hp: Any, bias: bool | None = False) -> WeightTable:
    """q, k and v in one tensor or in three, for `gqa`."""
    n_q, n_k, n_v = hp.n_head * hp.head_dim, hp.n_head_kv * hp.head_dim, hp.n_head_kv * hp.head_dim_v
    parts = {"attn_q": n_q, "attn_k": n_k, "attn_v": n_v}
    return {"blk.{i}.attn_qkv": Weight((n_q + n_k + n_v, hp.n_embd), bias=bias, parts=parts)}


def gqa(g: Graph, h: Value, blk: Any, hp: Any, layer: int, style: str, factors: Any = None) -> Value:
    """Attention with rotary positions over separate q, k and v (https://arxiv.org/abs/2305.13245)."""
    rope = {"style": style, "dims": hp.rope_dims, "base": hp.rope_base, "scaling": hp.rope_scaling, "factors": factors}
    q = g.rope(g.heads(g.linear(h, blk.attn_q), hp.n_head), **rope)
    k = g.rope(g.heads(g.linear(h, blk.attn_k), hp.n_head_kv), **rope)
    v = g.heads(g.linear(h, blk.attn_v), hp.n_head_kv)
    a = g.attention(q, k, v, layer=layer, scale=hp.head_dim**-0.5, window=hp.window)
    return g.linear(a, blk.attn_output)
