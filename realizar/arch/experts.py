"""Mixture-of-experts layers for plugins: hyperparameters, tensors and the feed-forward."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from realizar.arch.architecture import Weight, WeightTable
from realizar.arch.blocks import layer_tensors, swiglu_ffn, swiglu_tensors
from realizar.arch.hparams import HParams
from realizar.arch.metadata import ArchMetadata
from realizar.errors import GGUFError
from realizar.graph import Graph, Value

GATINGS = {1: "softmax", 2: "sigmoid", 3: "softmax_chosen"}
"""Values of the key "expert_gating_func" and the gating of `Graph.route`."""


@dataclass(frozen=True)
class ExpertHParams(HParams):
    """The hyperparameters of a mixture of experts.

    Attributes
    ----------
    n_expert, n_expert_used : int
        Number of experts, and how many are chosen for each token.
    n_ff_expert : int
        Feed-forward width of one expert.
    expert_scale : float
        Factor for the weights of the chosen experts.
    """

    n_expert: int
    n_expert_used: int
    n_ff_expert: int
    expert_scale: float


@dataclass(frozen=True)
class RoutedHParams(ExpertHParams):
    """Experts as in DeepSeek (https://arxiv.org/abs/2401.06066) and many later families.

    Attributes
    ----------
    n_dense : int
        Number of leading layers without experts.
    period : int
        Of the layers after them, every `period`-th has experts.
    n_ff_shared : int
        Total feed-forward width of the shared experts, which every token uses; 0 if there are none.
    routing : dict
        The choice of experts: arguments of `Graph.route`.
    """

    n_dense: int
    n_ff_shared: int
    routing: Mapping[str, Any]
    period: int = field(default=1, kw_only=True)

    def is_dense(self, layer: int) -> bool:
        """Whether this layer has a dense feed-forward instead of experts."""
        return layer < self.n_dense or (layer + 1) % self.period != 0


def expert_hparams(hp: HParams, md: ArchMetadata, n_ff: int | None = None) -> ExpertHParams:
    """Add the hyperparameters of experts; `n_ff` is their width if the file has no key for it.

    Raises
    ------
    GGUFError
        If a key is missing or has an invalid value.
    """
    n_expert, n_used = md.positive("expert_count"), md.positive("expert_used_count")
    if n_used > n_expert:
        raise GGUFError(f"{md.arch}.expert_used_count: {n_used} of {n_expert} experts are not a valid choice")
    n_ff_expert = md.positive("expert_feed_forward_length", hp.n_ff if n_ff is None else n_ff)
    scale = md.between("expert_weights_scale", 0.0, 1e6, 1.0) or 1.0  # some files write 0 for a missing value
    return ExpertHParams(
        **vars(hp), n_expert=n_expert, n_expert_used=n_used, n_ff_expert=n_ff_expert, expert_scale=scale
    )


def routed_hparams(
    hp: HParams, md: ArchMetadata, gating: str = "softmax", normalize: bool = False, n_ff: int | None = None
) -> RoutedHParams:
    """Add the hyperparameters of experts; `gating`, `normalize` and the width `n_ff` are for files without their keys.

    In a file without experts, all layers are dense. With sigmoid gating, a group of experts counts as much as its best
    two, else as its best one, as in DeepSeek V3 and V2.

    Raises
    ------
    GGUFError
        If a key is missing or has an invalid value.
    """
    if not md.integer("expert_count", 0):
        return RoutedHParams(
            **vars(hp), n_expert=0, n_expert_used=0, n_ff_expert=0, expert_scale=1.0, n_dense=hp.n_layer, n_ff_shared=0,
            routing={},
        )  # fmt: skip
    experts = expert_hparams(hp, md, n_ff)
    default = next(number for number, name in GATINGS.items() if name == gating)
    number = md.integer("expert_gating_func", 0) or default  # 0: not set
    if number not in GATINGS:
        raise GGUFError(f"{md.arch}.expert_gating_func: 1, 2 or 3 is needed, found {number}")
    shared = md.integer("expert_shared_feed_forward_length", 0)
    routing = {
        "gating": GATINGS[number],
        "normalize": md.boolean("expert_weights_norm", normalize),
        "n_group": md.positive("expert_group_count", 1),
        "n_group_used": md.positive("expert_group_used_count", 1),
        "n_group_best": 2 if GATINGS[number] == "sigmoid" else 1,
    }
    return RoutedHParams(
        **vars(experts), n_dense=md.integer("leading_dense_block_count", 0), routing=routing,
        n_ff_shared=shared or md.integer("expert_shared_count", 0) * experts.n_ff_expert,
        period=md.positive("interleave_moe_layer_step", 1),
    )  # fmt: skip


def expert_tensors(hp: Any, bias: bool = False) -> WeightTable:
    """The tensors of `expert_ffn`; gate and up are one fused tensor or two."""
    n_ff = hp.n_ff_expert
    parts = {"ffn_gate_exps": n_ff, "ffn_up_exps": n_ff}
    return {
        "blk.{i}.ffn_gate_inp": Weight((hp.n_expert, hp.n_embd), bias=bias),
        "blk.{i}.ffn_gate_up_exps": Weight((hp.n_expert, 2 * n_ff, hp.n_embd), bias=bias, parts=parts),
        "blk.{i}.ffn_down_exps": Weight((hp.n_expert, hp.n_embd, n_ff), bias=bias),
    }


def expert_ffn(
    g: Graph, x: Value, blk: Any, hp: Any, activation: str = "silu", limit: float = 0.0, **routing: Any
) -> Value:
    """Mixture-of-experts feed-forward (https://arxiv.org/abs/2401.04088).

    `activation` and `limit` are arguments of `Graph.experts`, `routing` of `Graph.route`.
    """
    logits = g.linear(x, blk.ffn_gate_inp)
    choice = g.route(logits, hp.n_expert_used, scale=hp.expert_scale, **routing)
    weights = {"gate": blk.ffn_gate_exps, "up": blk.ffn_up_exps, "down": blk.ffn_down_exps}
    return g.experts(x, choice, **weights, activation=activation, limit=limit)


def shared_tensors(n_embd: int, n_ff: int) -> WeightTable:
    """The tensors of `shared_ffn`; `ffn_up_shexp` may be fused, with the gate rows first."""
    parts = {"ffn_gate_shexp": n_ff, "ffn_up_shexp": n_ff}
    up, down = Weight((2 * n_ff, n_embd), parts=parts), Weight((n_embd, n_ff))
    return {"blk.{i}.ffn_up_shexp": up, "blk.{i}.ffn_down_shexp": down}


def shared_ffn(g: Graph, x: Value, blk: Any) -> Value:
    """The shared experts, which are one gated feed-forward."""
    return g.linear(g.silu(g.linear(x, blk.ffn_gate_shexp)) * g.linear(x, blk.ffn_up_shexp), blk.ffn_down_shexp)


def routed_expert_tensors(hp: RoutedHParams) -> WeightTable:
    """The tensors of `routed_experts`; a bias for the choice of experts is optional."""
    table = {**expert_tensors(hp), "blk.{i}.exp_probs_b": Weight((hp.n_expert,), suffix=".bias", optional=True)}
    return {**table, **shared_tensors(hp.n_embd, hp.n_ff_shared)} if hp.n_ff_shared else table


def routed_experts(g: Graph, x: Value, blk: Any, hp: RoutedHParams) -> Value:
    """The sum of the chosen and the shared experts."""
    y = expert_ffn(g, x, blk, hp, bias=blk.exp_probs_b, **hp.routing)
    return y + shared_ffn(g, x, blk) if hp.n_ff_shared else y


def routed_tensors(hp: RoutedHParams, bias: bool | None = False) -> WeightTable:
    """The tensors of `routed_ffn`: dense feed-forwards in some layers, experts in the others.

    `bias` is that of the dense feed-forwards.
    """
    dense, experts = swiglu_tensors(hp.n_embd, hp.n_ff, bias), routed_expert_tensors(hp)
    table: WeightTable = {}
    for i in range(hp.n_layer):
        table.update(layer_tensors(i, dense if hp.is_dense(i) else experts))
    return table


def routed_ffn(g: Graph, x: Value, blk: Any, hp: RoutedHParams, layer: int) -> Value:
    """The feed-forward of a dense layer, else experts."""
    return swiglu_ffn(g, x, blk) if hp.is_dense(layer) else routed_experts(g, x, blk, hp)


def by_router(dense: WeightTable, experts: WeightTable) -> WeightTable:
    """The tensors of layers of which those with a router have experts, for files that do not say which do."""
    router = "ffn_gate_inp"
    table = {name: replace(weight, where=router) for name, weight in experts.items()}
    table[f"blk.{{i}}.{router}"] = replace(experts[f"blk.{{i}}.{router}"], optional=True)
    return {**table, **{name: replace(weight, unless=router) for name, weight in dense.items()}}
