"""The recurrence of Mamba 2, which several families combine with attention: sizes, tensors and equations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from realizar.arch.architecture import Weight, WeightTable
from realizar.arch.metadata import ArchMetadata
from realizar.graph import Graph, Value


@dataclass(frozen=True)
class ScanSizes:
    """Sizes of a selective scan and of the convolution before it.

    Attributes
    ----------
    n_tap : int
        Width of the convolution in tokens.
    n_inner, n_state : int
        Number of channels, and state size of each.
    dt_rank : int
        Rank of the projection to dt; in Mamba 2 the number of heads, each with its own dt.
    n_group : int
        Number of groups of b and c (Mamba 2).
    """

    n_tap: int
    n_inner: int
    n_state: int
    dt_rank: int
    n_group: int


def scan_sizes(md: ArchMetadata) -> ScanSizes:
    """Return the sizes in the keys "ssm.*".

    Raises
    ------
    GGUFError
        If a key is missing or has an invalid value.
    """
    return ScanSizes(
        n_tap=md.positive("ssm.conv_kernel"),
        n_inner=md.positive("ssm.inner_size"),
        n_state=md.positive("ssm.state_size"),
        dt_rank=md.positive("ssm.time_step_rank"),
        n_group=md.positive("ssm.group_count", 1),
    )


def mamba2_tensors(n_embd: int, ssm: ScanSizes, norm: bool | None = True) -> WeightTable:
    """The tensors of `mamba2`; a norm of one group is a vector in the file, and with None may be missing."""
    n_conv = ssm.n_inner + 2 * ssm.n_group * ssm.n_state
    normed = Weight((ssm.n_group, ssm.n_inner // ssm.n_group), optional=norm is None)
    return {
        "blk.{i}.ssm_in": Weight((ssm.n_inner + n_conv + ssm.dt_rank, n_embd)),
        "blk.{i}.ssm_conv1d": Weight((n_conv, ssm.n_tap), bias=True),
        "blk.{i}.ssm_dt": Weight((ssm.dt_rank,), suffix=".bias"),
        "blk.{i}.ssm_a": Weight((ssm.dt_rank, 1), suffix="", negative=True),
        "blk.{i}.ssm_d": Weight((ssm.dt_rank, 1), suffix=""),
        "blk.{i}.ssm_norm": normed,
        "blk.{i}.ssm_out": Weight((n_embd, ssm.n_inner)),
    }


def mamba2(g: Graph, h: Value, blk: Any, ssm: ScanSizes, layer: int, eps: float) -> Value:
    """The recurrence of Mamba 2 (https://arxiv.org/abs/2405.21060).

    One projection computes all inputs of the scan, whose heads have one decay each; the convolution includes b and c,
    and the gated result is normalized in groups.
    """
    n_bc = ssm.n_group * ssm.n_state
    n_conv = ssm.n_inner + 2 * n_bc
    z, xbc, dt = g.split(g.linear(h, blk.ssm_in), ssm.n_inner, n_conv, ssm.dt_rank)
    xbc = g.silu(g.causal_conv1d(xbc, blk.ssm_conv1d, g.state(layer, (ssm.n_tap - 1, n_conv), "conv")))
    x, b, c = g.split(xbc, ssm.n_inner, n_bc, n_bc)
    state = g.state(layer, (ssm.n_inner, ssm.n_state), "scan")
    y = g.selective_scan(x, dt, b, c, a=blk.ssm_a, d=blk.ssm_d, dt_bias=blk.ssm_dt, state=state)
    y = g.silu(z) * y
    if blk.ssm_norm is not None:
        y = g.flatten(g.rms_norm(g.heads(y, ssm.n_group), blk.ssm_norm, eps=eps))
    return g.linear(y, blk.ssm_out)
