"""Building blocks that several model families share, each at most ten lines."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from realizar.arch.architecture import Weight, Weights, WeightTable
from realizar.graph import Graph, Value


def layer_tensors(layer: int, *tables: WeightTable) -> WeightTable:
    """Return the tensors of one layer, for models whose layers differ: `{i}` is replaced by its number."""
    return {name.replace("{i}", str(layer)): weight for table in tables for name, weight in table.items()}


def swiglu_ffn(g: Graph, x: Value, blk: Any) -> Value:
    """down(silu(gate(x)) * up(x)), the feed-forward of Llama (https://arxiv.org/abs/2002.05202)."""
    return g.linear(g.silu(g.linear(x, blk.ffn_gate)) * g.linear(x, blk.ffn_up), blk.ffn_down)


def swiglu_tensors(n_embd: int, n_ff: int, bias: bool | None = False) -> WeightTable:
    """The tensors of `swiglu_ffn`; `ffn_up` may be fused, with the gate rows first."""
    parts = {"ffn_gate": n_ff, "ffn_up": n_ff}
    return {
        "blk.{i}.ffn_up": Weight((2 * n_ff, n_embd), bias=bias, parts=parts),
        "blk.{i}.ffn_down": Weight((n_embd, n_ff), bias=bias),
    }


def deepstack_rows(g: Graph, hp: Any) -> list[Value]:
    """What a step passes in for the states after the first layers, zero for tokens: n_deepstack times (n_embd,).

    Several layers of a vision encoder enter several layers of the language model (https://arxiv.org/abs/2406.04334).
    """
    return g.split(g.input("deepstack", (hp.n_deepstack * hp.n_embd,)), *[hp.n_embd] * hp.n_deepstack)


def geglu_ffn(g: Graph, x: Value, blk: Any) -> Value:
    """down(gelu(gate(x)) * up(x)), with the tensors of `swiglu_ffn`."""
    return g.linear(g.gelu(g.linear(x, blk.ffn_gate)) * g.linear(x, blk.ffn_up), blk.ffn_down)


def mlp(g: Graph, x: Value, blk: Any, activation: Callable[[Value], Value]) -> Value:
    """down(activation(up(x))), the feed-forward of the original transformer."""
    return g.linear(activation(g.linear(x, blk.ffn_up)), blk.ffn_down)


def relu2(g: Graph, x: Value) -> Value:
    """max(x, 0)^2, the activation of Primer (https://arxiv.org/abs/2109.08668)."""
    positive = g.relu(x)
    return positive * positive


def mlp_tensors(n_embd: int, n_ff: int, bias: bool | None = True) -> WeightTable:
    """The tensors of `mlp`."""
    return {
        "blk.{i}.ffn_up": Weight((n_ff, n_embd), bias=bias),
        "blk.{i}.ffn_down": Weight((n_embd, n_ff), bias=bias),
    }


def rank_tensors(hp: Any) -> WeightTable:
    """The tensors of `rank_head`; most files have none of them."""
    n_class = max(1, len(hp.labels))
    return {
        "cls": Weight((hp.n_embd, hp.n_embd), bias=None, optional=True),
        "cls.output": Weight((n_class, hp.n_embd), bias=None, optional=True),
    }


def rank_head(g: Graph, w: Weights, pooled: Callable[[], Value]) -> Mapping[str, Value] | None:
    """The classification head of RoBERTa, output(tanh(dense(x))) of what `pooled` records; None if the file has none.

    Some files lack the dense layer.
    """
    if w.cls_output is None:
        return None
    x = pooled() if w.cls is None else g.tanh(g.linear(pooled(), w.cls))
    return rank_outputs(g, g.linear(x, w.cls_output))


def rank_outputs(g: Graph, logits: Value) -> Mapping[str, Value]:
    """The outputs of a program "rank": a head's own, and as probabilities (of one class its own, else they add up)."""
    return {"rank": logits, "classes": g.softmax(logits) if logits.shape[0] > 1 else g.sigmoid(logits)}


def norm_tensors(n_embd: int, *names: str, bias: bool | None = False) -> WeightTable:
    """Norm weights (n_embd,) of these names in every layer."""
    return {f"blk.{{i}}.{name}": Weight((n_embd,), bias=bias) for name in names}


def embedding_tensors(n_vocab: int, n_embd: int, norm_bias: bool | None = False, tied: bool = True) -> WeightTable:
    """Token embedding, final norm and an output matrix.

    With `tied`, the file may lack the output matrix, which is then the token embedding. Set it as llama.cpp does for
    the architecture.
    """
    return {
        "token_embd": Weight((n_vocab, n_embd)),
        "output_norm": Weight((n_embd,), bias=norm_bias),
        "output": Weight((n_vocab, n_embd), alias="token_embd" if tied else None),
    }


def gqa_tensors(hp: Any, bias: bool | None = False, output_bias: bool | None = False) -> WeightTable:
    """The tensors of grouped-query attention and of its norm."""
    return {**norm_tensors(hp.n_embd, "attn_norm"), **qkv_tensors(hp, bias, output_bias)}


def qkv_tensors(hp: Any, bias: bool | None = False, output_bias: bool | None = False) -> WeightTable:
    """The tensors of grouped-query attention; q, k and v are one fused tensor or three."""
    n_q, n_k, n_v = hp.n_head * hp.head_dim, hp.n_head_kv * hp.head_dim, hp.n_head_kv * hp.head_dim_v
    parts = {"attn_q": n_q, "attn_k": n_k, "attn_v": n_v}
    output = Weight((hp.n_embd, hp.n_head * hp.head_dim_v), bias=output_bias)
    whole = Weight((n_q + n_k + n_v, hp.n_embd), bias=bias, parts=parts)
    return {"blk.{i}.attn_qkv": whole, "blk.{i}.attn_output": output}


fused_qkv_tensors = qkv_tensors
"""Alias of `qkv_tensors`, for plugins written for API 1.0."""


def rope_tensors(hp: Any) -> WeightTable:
    """Rotary frequency factors: Llama 3's, or the two tables of longrope; a file has both of these or neither."""
    factors = Weight((hp.rope_dims // 2,), optional=True)
    if hp.rope_scaling.kind != "longrope":
        return {"rope_freqs": factors}
    long = replace(factors, optional=False, where="rope_factors_short")
    return {"rope_factors_short": factors, "rope_factors_long": long}


def rope_factors(w: Weights, hp: Any) -> Any:
    """The `factors` argument of `Graph.rope` from `rope_tensors`: one table, two, or None."""
    if hp.rope_scaling.kind != "longrope":
        return w.rope_freqs
    return None if w.rope_factors_long is None else (w.rope_factors_short, w.rope_factors_long)


def qkv(g: Graph, h: Value, blk: Any, hp: Any) -> tuple[Value, Value, Value]:
    """q, k and v split into heads, before the rotary embedding."""
    q = g.heads(g.linear(h, blk.attn_q), hp.n_head)
    k = g.heads(g.linear(h, blk.attn_k), hp.n_head_kv)
    return q, k, g.heads(g.linear(h, blk.attn_v), hp.n_head_kv)


def clamped_qkv(g: Graph, h: Value, blk: Any, hp: Any, limit: float) -> tuple[Value, Value, Value]:
    """`qkv` with all elements within `limit` of zero; 0: no limit."""
    q, k, v = qkv(g, h, blk, hp)
    return (g.clamp(q, limit), g.clamp(k, limit), g.clamp(v, limit)) if limit else (q, k, v)


def rotate(g: Graph, hp: Any, style: str, q: Value, k: Value, factors: Any = None) -> tuple[Value, Value]:
    """q and k with the rotary embedding of the metadata (https://arxiv.org/abs/2104.09864)."""
    rope = {"style": style, "dims": hp.rope_dims, "base": hp.rope_base, "scaling": hp.rope_scaling, "factors": factors}
    return g.rope(q, **rope, axes=hp.rope_axes), g.rope(k, **rope, axes=hp.rope_axes)


L2_EPS = 1e-6
"""Epsilon of `l2_norm` in delta nets, a constant in their reference code (https://github.com/fla-org/flash-linear-attention)
and in transformers, whatever the epsilon of the other norms is."""


def l2_norm(g: Graph, x: Value, eps: float, scale: float = 1.0) -> Value:
    """scale * x / sqrt(sum(x^2) + eps) over the last dimension."""
    n = x.shape[-1]
    return g.scale(g.rms_norm(x, None, eps=eps / n), scale * n**-0.5)


def gqa(
    g: Graph, h: Value, blk: Any, hp: Any, layer: int, style: str, factors: Any = None, q_scale: Value | None = None
) -> Value:
    """Grouped-query attention with rotary embedding (https://arxiv.org/abs/2305.13245); `q_scale` is (1,)."""
    q, k, v = qkv(g, h, blk, hp)
    q = q if q_scale is None else q * q_scale
    q, k = rotate(g, hp, style, q, k, factors)
    a = g.attention(q, k, v, layer=layer, scale=hp.head_dim**-0.5, window=hp.window)
    return g.linear(a, blk.attn_output)


def normed_qkv(g: Graph, h: Value, blk: Any, hp: Any) -> tuple[Value, Value, Value]:
    """`qkv` with q and k normalized head by head, as in Qwen 3."""
    q, k, v = qkv(g, h, blk, hp)
    return g.rms_norm(q, blk.attn_q_norm, eps=hp.norm_eps), g.rms_norm(k, blk.attn_k_norm, eps=hp.norm_eps), v


def normed_gqa(g: Graph, h: Value, blk: Any, hp: Any, layer: int, style: str) -> Value:
    """`gqa` with q and k normalized head by head before they are rotated."""
    q, k, v = normed_qkv(g, h, blk, hp)
    q, k = rotate(g, hp, style, q, k)
    a = g.attention(q, k, v, layer=layer, scale=hp.head_dim**-0.5, window=hp.window)
    return g.linear(a, blk.attn_output)


def normed_gqa_tensors(hp: Any) -> WeightTable:
    """The tensors of `normed_gqa` and of its norm."""
    return {**norm_tensors(hp.n_embd, "attn_norm"), **normed_qkv_tensors(hp)}


def normed_qkv_tensors(hp: Any) -> WeightTable:
    """The tensors of attention with `normed_qkv`."""
    norm = Weight((hp.head_dim,))
    return {**qkv_tensors(hp, bias=None, output_bias=None), "blk.{i}.attn_q_norm": norm, "blk.{i}.attn_k_norm": norm}


def wide_normed_qkv(g: Graph, h: Value, blk: Any, hp: Any) -> tuple[Value, Value, Value]:
    """`qkv` with q and k normalized over their whole width, as in OLMo 2."""
    q = g.rms_norm(g.linear(h, blk.attn_q), blk.attn_q_norm, eps=hp.norm_eps)
    k = g.rms_norm(g.linear(h, blk.attn_k), blk.attn_k_norm, eps=hp.norm_eps)
    return g.heads(q, hp.n_head), g.heads(k, hp.n_head_kv), g.heads(g.linear(h, blk.attn_v), hp.n_head_kv)


def wide_normed_qkv_tensors(hp: Any) -> WeightTable:
    """The tensors of attention with `wide_normed_qkv`."""
    q_norm, k_norm = Weight((hp.n_head * hp.head_dim,)), Weight((hp.n_head_kv * hp.head_dim,))
    table = qkv_tensors(hp, bias=None, output_bias=None)
    return {**table, "blk.{i}.attn_q_norm": q_norm, "blk.{i}.attn_k_norm": k_norm}
