"""The lightning indexer of sparse attention for plugins: hyperparameters, tensors and equations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from realizar.arch.architecture import Weight, WeightTable
from realizar.arch.metadata import ArchMetadata
from realizar.errors import GGUFError
from realizar.graph import Graph, Value

NORM_EPS = 1e-6
"""Epsilon of the layer norm of keys, which files do not have: that of the published models and of llama.cpp."""


@dataclass(frozen=True)
class IndexerHParams:
    """The hyperparameters of an indexer (https://arxiv.org/abs/2512.02556).

    Attributes
    ----------
    n_head, head_dim : int
        Heads of its queries, and their size, which is that of its keys.
    n_keys : int
        Keys that a query attends to.
    full : tuple of bool
        Which layers choose keys; the others attend to those that the last layer before them chose.
    """

    n_head: int
    head_dim: int
    n_keys: int
    full: tuple[bool, ...]


def indexer_hparams(md: ArchMetadata, full: tuple[bool, ...]) -> IndexerHParams:
    """Read the keys "attention.indexer.*"; `full` is for files that do not say which layers choose keys.

    Raises
    ------
    GGUFError
        If a key is missing or has an invalid value, or the first layer chooses no keys.
    """
    key = "attention.indexer.types"
    full = md.flags(key) if f"{md.arch}.{key}" in md.metadata else full
    if not full[0]:
        raise GGUFError(f"{md.arch}.{key}: the first layer must choose keys, as no layer before it has chosen any")
    return IndexerHParams(
        n_head=md.positive("attention.indexer.head_count"), head_dim=md.positive("attention.indexer.key_length"),
        n_keys=md.positive("attention.indexer.top_k"), full=full,
    )  # fmt: skip


def indexer_tensors(n_embd: int, n_q_latent: int, hp: IndexerHParams) -> WeightTable:
    """The tensors of `indexer`, of the layers that choose keys."""
    table = {
        "indexer.attn_q_b": Weight((hp.n_head * hp.head_dim, n_q_latent)),
        "indexer.attn_k": Weight((hp.head_dim, n_embd)),
        "indexer.k_norm": Weight((hp.head_dim,), bias=True),
        "indexer.proj": Weight((hp.n_head, n_embd)),
    }
    return {f"blk.{i}.{name}": weight for i, full in enumerate(hp.full) if full for name, weight in table.items()}


def indexer(
    g: Graph, h: Value, q_latent: Value, blk: Any, hp: IndexerHParams, layer: int, rope: Mapping[str, Any]
) -> Value:
    """The keys that a query attends to, from the normalized input and the compressed queries of MLA: (n_keys,).

    `rope` are arguments of `Graph.rope`, which rotates the first elements of each head.
    """
    q = g.rope(g.heads(g.linear(q_latent, blk.indexer_attn_q_b), hp.n_head), **rope)
    k = g.layer_norm(g.linear(h, blk.indexer_attn_k), blk.indexer_k_norm, eps=NORM_EPS)
    k = g.rope(g.heads(k, 1), **rope)
    return g.choose_keys(q, k, g.linear(h, blk.indexer_proj), layer=layer, n_keys=hp.n_keys)
