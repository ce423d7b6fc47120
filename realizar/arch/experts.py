"""Mixture-of-experts layers for plugins: hyperparameters, tensors and the feed-forward."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from realizar.arch.architecture import HParams, Weight, WeightTable
from realizar.arch.metadata import ArchMetadata
from realizar.errors import GGUFError
from realizar.graph import Graph, Value


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


def expert_tensors(hp: Any, bias: bool = False) -> WeightTable:
    """The tensors of `expert_ffn`; gate and up are one fused tensor or two."""
    n_ff = hp.n_ff_expert
    parts = {"ffn_gate_exps": n_ff, "ffn_up_exps": n_ff}
    return {
        "blk.{i}.ffn_gate_inp": Weight((hp.n_expert, hp.n_embd), bias=bias),
        "blk.{i}.ffn_gate_up_exps": Weight((hp.n_expert, 2 * n_ff, hp.n_embd), bias=bias, parts=parts),
        "blk.{i}.ffn_down_exps": Weight((hp.n_expert, hp.n_embd, n_ff), bias=bias),
    }


def expert_ffn(g: Graph, x: Value, blk: Any, hp: Any, activation: str = "silu", **routing: Any) -> Value:
    """Mixture-of-experts feed-forward (https://arxiv.org/abs/2401.04088); `routing` are arguments of `Graph.route`."""
    logits = g.linear(x, blk.ffn_gate_inp)
    choice = g.route(logits, hp.n_expert_used, scale=hp.expert_scale, **routing)
    weights = {"gate": blk.ffn_gate_exps, "up": blk.ffn_up_exps, "down": blk.ffn_down_exps}
    return g.experts(x, choice, **weights, activation=activation)
