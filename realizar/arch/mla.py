"""Multi-head latent attention for plugins: tensors and equations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from realizar.arch.architecture import Weight, WeightTable
from realizar.arch.checkpoint import Array, Keys, Names
from realizar.graph import Graph, Value

LATENT_EPS = 1e-6
"""Epsilon of the norms of latents: a constant in the models' own code and in transformers (`DeepseekV3RMSNorm`), which
do not use the configuration's `rms_norm_eps` here."""


def expanding(x: Array, hp: Any) -> Array:
    """The up-projection of the latent, per head: rows of the key, then rows of the value."""
    return x.reshape(hp.n_head, hp.n_nope + hp.n_value, -1)


def key_expanding(x: Array, hp: Any) -> Array:
    """The up-projection of keys, transposed as `mla` takes it."""
    return expanding(x, hp)[:, : hp.n_nope].swapaxes(1, 2)


def value_expanding(x: Array, hp: Any) -> Array:
    """The up-projection of values."""
    return expanding(x, hp)[:, hp.n_nope :]


MLA_KEYS: Keys = {
    "attention.key_length": lambda config: config["kv_lora_rank"] + config["qk_rope_head_dim"],
    "attention.value_length": "kv_lora_rank",
    "attention.key_length_mla": lambda config: config["qk_nope_head_dim"] + config["qk_rope_head_dim"],
    "attention.value_length_mla": "v_head_dim",
    "attention.q_lora_rank": "q_lora_rank",
    "attention.kv_lora_rank": "kv_lora_rank",
    "rope.dimension_count": "qk_rope_head_dim",
}
"""The metadata of multi-head latent attention in a Hugging Face configuration."""
MLA_NAMES: Names = {
    "blk.{i}.attn_q_a": "layers.{i}.self_attn.q_a_proj",
    "blk.{i}.attn_q_a_norm": "layers.{i}.self_attn.q_a_layernorm",
    "blk.{i}.attn_q_b": "layers.{i}.self_attn.q_b_proj",
    "blk.{i}.attn_kv_a_mqa": "layers.{i}.self_attn.kv_a_proj_with_mqa",
    "blk.{i}.attn_kv_a_norm": "layers.{i}.self_attn.kv_a_layernorm",
    "blk.{i}.attn_k_b": ("layers.{i}.self_attn.kv_b_proj", key_expanding),
    "blk.{i}.attn_v_b": ("layers.{i}.self_attn.kv_b_proj", value_expanding),
}
"""Names in checkpoints."""


def mla_tensors(hp: Any) -> WeightTable:
    """The tensors of `mla`: down-projections, up-projections (one fused tensor or two), and the norms between them.

    `hp` has `n_head`; `n_nope` and `rope_dims`, the dimensions of a head of queries without and with rotary embedding;
    `n_value`, those of its value; `n_q_latent` and `n_latent`, those of compressed queries (0: not compressed) and of
    keys and values together; and `fused_kv`.
    """
    n_q, n_kv = hp.n_head * (hp.n_nope + hp.rope_dims), hp.n_head * (hp.n_nope + hp.n_value)
    queries = {"blk.{i}.attn_q": Weight((n_q, hp.n_embd))}
    if hp.n_q_latent:
        queries = {
            "blk.{i}.attn_q_a": Weight((hp.n_q_latent, hp.n_embd)),
            "blk.{i}.attn_q_a_norm": Weight((hp.n_q_latent,)),
            "blk.{i}.attn_q_b": Weight((n_q, hp.n_q_latent)),
        }
    expand = {
        "blk.{i}.attn_k_b": Weight((hp.n_head, hp.n_latent, hp.n_nope)),
        "blk.{i}.attn_v_b": Weight((hp.n_head, hp.n_value, hp.n_latent)),
    }
    return {
        **queries,
        "blk.{i}.attn_kv_a_mqa": Weight((hp.n_latent + hp.rope_dims, hp.n_embd)),
        "blk.{i}.attn_kv_a_norm": Weight((hp.n_latent,)),
        **({"blk.{i}.attn_kv_b": Weight((n_kv, hp.n_latent))} if hp.fused_kv else expand),
        "blk.{i}.attn_output": Weight((hp.n_embd, hp.n_head * hp.n_value)),
    }


def mla(
    g: Graph, h: Value, blk: Any, hp: Any, layer: int, rope: Mapping[str, Any] | None, q_scale: Value | None = None,
    *, q_latent: Value | None = None, chosen: Value | None = None,
) -> Value:  # fmt: skip
    """Attention over latents (https://arxiv.org/abs/2405.04434), before the output projection: (n_head, n_value).

    The up-projections are absorbed into the query before and the value after. `rope` are arguments of `Graph.rope`, or
    None for no positions; `hp.qk_scale` is the scale of scores, and `q_scale`, (1,), a further one of the queries.
    `q_latent` are the compressed queries, if they are computed already; `chosen` are the keys of a sparse attention.
    """
    q = g.heads(_queries(g, h, q_latent, blk, hp), hp.n_head)
    latent, shared = g.split(g.linear(h, blk.attn_kv_a_mqa), hp.n_latent, hp.rope_dims)
    latent = g.heads(g.rms_norm(latent, blk.attn_kv_a_norm, eps=LATENT_EPS), 1)
    own, q_rope, k_rope = g.slice(q, 0, hp.n_nope), g.slice(q, hp.n_nope, hp.rope_dims), g.heads(shared, 1)
    if rope is not None:
        q_rope, k_rope = g.rope(q_rope, **rope), g.rope(k_rope, **rope)
    query, key = g.concat(_to_latent(g, own, blk, hp), q_rope), g.concat(latent, k_rope)
    query = query if q_scale is None else query * q_scale
    a = g.mla_attention(query, key, chosen, layer=layer, scale=hp.qk_scale, head_dim_v=hp.n_latent)
    return _to_value(g, g.heads(a, hp.n_head), blk, hp)


def compressed_queries(g: Graph, h: Value, blk: Any, hp: Any) -> Value:
    """The compressed queries of all heads together: (n_q_latent,)."""
    return g.rms_norm(g.linear(h, blk.attn_q_a), blk.attn_q_a_norm, eps=LATENT_EPS)


def _queries(g: Graph, h: Value, q_latent: Value | None, blk: Any, hp: Any) -> Value:
    """The queries of all heads, computed from a latent vector if they are compressed."""
    if not hp.n_q_latent:
        return g.linear(h, blk.attn_q)
    return g.linear(compressed_queries(g, h, blk, hp) if q_latent is None else q_latent, blk.attn_q_b)


def _to_latent(g: Graph, q: Value, blk: Any, hp: Any) -> Value:
    """Query times the key's up-projection; files without a fused tensor store it transposed."""
    if hp.fused_kv:
        return g.per_head_linear(q, blk.attn_kv_b, rows=(0, hp.n_nope), transposed=True)
    return g.per_head_linear(q, blk.attn_k_b)


def _to_value(g: Graph, a: Value, blk: Any, hp: Any) -> Value:
    """The value's up-projection, applied to the attention result of each head."""
    if hp.fused_kv:
        return g.per_head_linear(a, blk.attn_kv_b, rows=(hp.n_nope, hp.n_nope + hp.n_value))
    return g.per_head_linear(a, blk.attn_v_b)
