"""Small pieces that several families share; each at most ten lines."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from realizar.arch.architecture import Weight, Weights, WeightTable
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


def mlp(g: Graph, x: Value, blk: Any, activation: Callable[[Value], Value]) -> Value:
    """down(activation(up(x))), the feed-forward of the first transformers."""
    return g.linear(activation(g.linear(x, blk.ffn_up)), blk.ffn_down)


def mlp_tensors(n_embd: int, n_ff: int, bias: bool | None = True) -> WeightTable:
    """The tensors of `mlp`."""
    return {
        "blk.{i}.ffn_up": Weight((n_ff, n_embd), bias=bias),
        "blk.{i}.ffn_down": Weight((n_embd, n_ff), bias=bias),
    }


def norm_tensors(n_embd: int, *names: str, bias: bool = False) -> WeightTable:
    """Norms over the residual stream in every layer."""
    return {f"blk.{{i}}.{name}": Weight((n_embd,), bias=bias) for name in names}


def embedding_tensors(n_vocab: int, n_embd: int, norm_bias: bool = False) -> WeightTable:
    """Token embedding, final norm and an output matrix that may be tied to the embedding."""
    return {
        "token_embd": Weight((n_vocab, n_embd)),
        "output_norm": Weight((n_embd,), bias=norm_bias),
        "output": Weight((n_vocab, n_embd), alias="token_embd"),
    }


def gqa_tensors(hp: Any, bias: bool | None = False, output_bias: bool | None = False) -> WeightTable:
    """Attention with separate q, k and v, fewer KV heads than heads, and its norm."""
    return {**norm_tensors(hp.n_embd, "attn_norm"), **qkv_tensors(hp, bias, output_bias)}


def qkv_tensors(hp: Any, bias: bool | None = False, output_bias: bool | None = False) -> WeightTable:
    """The same without the norm."""
    return {
        "blk.{i}.attn_q": Weight((hp.n_head * hp.head_dim, hp.n_embd), bias=bias),
        "blk.{i}.attn_k": Weight((hp.n_head_kv * hp.head_dim, hp.n_embd), bias=bias),
        "blk.{i}.attn_v": Weight((hp.n_head_kv * hp.head_dim_v, hp.n_embd), bias=bias),
        "blk.{i}.attn_output": Weight((hp.n_embd, hp.n_head * hp.head_dim_v), bias=output_bias),
    }


def fused_qkv_tensors(hp: Any, bias: bool | None = False, output_bias: bool | None = False) -> WeightTable:
    """The same with q, k and v in one tensor or in three."""
    n_q, n_k, n_v = hp.n_head * hp.head_dim, hp.n_head_kv * hp.head_dim, hp.n_head_kv * hp.head_dim_v
    parts = {"attn_q": n_q, "attn_k": n_k, "attn_v": n_v}
    output = Weight((hp.n_embd, hp.n_head * hp.head_dim_v), bias=output_bias)
    whole = Weight((n_q + n_k + n_v, hp.n_embd), bias=bias, parts=parts)
    return {"blk.{i}.attn_qkv": whole, "blk.{i}.attn_output": output}


def rope_tensors(hp: Any) -> WeightTable:
    """Factors of the rotary frequencies: Llama 3's, or the two tables of longrope."""
    names = ("rope_factors_short", "rope_factors_long") if hp.rope_scaling.kind == "longrope" else ("rope_freqs",)
    return {name: Weight((hp.rope_dims // 2,), optional=True) for name in names}


def rope_factors(w: Weights, hp: Any) -> Any:
    """What `rope_tensors` declares as `Graph.rope` takes it: a table, a pair of tables, or None."""
    if hp.rope_scaling.kind != "longrope":
        return w.rope_freqs
    return None if w.rope_factors_long is None else (w.rope_factors_short, w.rope_factors_long)


def qkv(g: Graph, h: Value, blk: Any, hp: Any) -> tuple[Value, Value, Value]:
    """The heads of q, k and v, not rotated yet."""
    q = g.heads(g.linear(h, blk.attn_q), hp.n_head)
    k = g.heads(g.linear(h, blk.attn_k), hp.n_head_kv)
    return q, k, g.heads(g.linear(h, blk.attn_v), hp.n_head_kv)


def rotate(g: Graph, hp: Any, style: str, q: Value, k: Value, factors: Any = None) -> tuple[Value, Value]:
    """q and k turned by their positions, as the metadata say (https://arxiv.org/abs/2104.09864)."""
    rope = {"style": style, "dims": hp.rope_dims, "base": hp.rope_base, "scaling": hp.rope_scaling, "factors": factors}
    return g.rope(q, **rope), g.rope(k, **rope)


def gqa(g: Graph, h: Value, blk: Any, hp: Any, layer: int, style: str, factors: Any = None) -> Value:
    """Attention with rotary positions over separate q, k and v (https://arxiv.org/abs/2305.13245)."""
    q, k, v = qkv(g, h, blk, hp)
    q, k = rotate(g, hp, style, q, k, factors)
    a = g.attention(q, k, v, layer=layer, scale=hp.head_dim**-0.5, window=hp.window)
    return g.linear(a, blk.attn_output)
