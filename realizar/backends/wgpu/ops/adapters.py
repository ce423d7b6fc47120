"""Adapters of sequences: shaders/low_rank_down.wgsl, low_rank_up.wgsl and control_vector.wgsl."""

from __future__ import annotations

from typing import TYPE_CHECKING

from realizar.backends.wgpu.lowering import Lowering, groups

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from realizar.backends.wgpu.kernels import Constant
    from realizar.backends.wgpu.lowering import Work
    from realizar.graph import Node


def _low_rank(op: Node, low: Lowering) -> Sequence[Work]:
    """Two dispatches for each product: scale * A x of all adapters of a row, then y + B h, in the memory of y."""
    x, *products = (low.place(i) for i in op.inputs)
    max_rank, factors = int(op.attrs["max_rank"]), low.adapters.pool
    made: list[Work] = []
    for name, y in zip(op.attrs["targets"], products, strict=True):
        h = low.scratch(max_rank, x.m_rows)
        constants: dict[str, Constant] = {
            "SLOT": low.adapters.slot(name, y.n, x.n), "N_IN": x.n, "N_OUT": y.n, "PICKED": x.m_rows
        }  # fmt: skip
        buffers = {"factors": factors, "x": x, "h": h}
        parts = ["adapters", "reduce"]
        made.append(low.dispatch("low_rank_down", constants, buffers, x=max_rank, m_rows=x.m_rows, parts=parts))
        buffers = {"factors": factors, "h": h, "y": y}
        made.append(low.dispatch("low_rank_up", constants, buffers, x=groups(y.n), m_rows=y.m_rows, parts=["adapters"]))
    return made


def _control_vector(op: Node, low: Lowering) -> Sequence[Work]:
    y = low.place(op.inputs[0])
    constants: dict[str, Constant] = {
        "SLOT": low.adapters.slot(op.attrs["place"], y.n, 1), "N_OUT": y.n, "PICKED": y.m_rows
    }  # fmt: skip
    buffers = {"factors": low.adapters.pool, "y": y}
    return [low.dispatch("control_vector", constants, buffers, x=groups(y.n), m_rows=y.m_rows, parts=["adapters"])]


LOWERED: dict[str, Callable[[Node, Lowering], Sequence[Work]]] = {
    "low_rank": _low_rank, "control_vector": _control_vector
}  # fmt: skip
