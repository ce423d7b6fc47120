"""Ops that copy or pool elements, and scales of positions: shaders/copy.wgsl, pool.wgsl and position_scale.wgsl."""

from __future__ import annotations

from typing import TYPE_CHECKING

from realizar.backends.wgpu.lowering import Dispatch, Lowering, Place, groups

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from realizar.backends.wgpu.lowering import Work
    from realizar.graph import Node


def _copy(
    low: Lowering, x: Place, y: Place, n_head: int, size: int, x_start: int = 0, y_start: int = 0, gathers: bool = False
) -> Dispatch:
    """Copy `size` elements of each head, from x_start of a head of x to y_start of a head of y."""
    constants = {
        "N_HEAD": n_head, "SIZE": size, "X_DIM": x.n // n_head, "Y_DIM": y.n // n_head, "X_START": x_start,
        "Y_START": y_start, "GATHERS": gathers,
    }  # fmt: skip
    return low.dispatch("copy", constants, {"x": x, "y": y}, x=groups(n_head * size), m_rows=y.m_rows)


def _gather_rows(op: Node, low: Lowering) -> Sequence[Work]:
    x, y = low.place(op.inputs[0]), low.place(op.outputs[0])
    return [_copy(low, x, y, 1, x.n, gathers=True)]


def _slice(op: Node, low: Lowering) -> Sequence[Work]:
    x, y = low.place(op.inputs[0]), low.place(op.outputs[0])
    size = low.plan.shapes[op.outputs[0]][-1]
    return [_copy(low, x, y, y.n // size, size, x_start=op.attrs["start"])]


def _concat(op: Node, low: Lowering) -> Sequence[Work]:
    a, b = (low.place(i) for i in op.inputs)
    y = low.place(op.outputs[0])
    n_a, n_b = (low.plan.shapes[i][-1] for i in op.inputs)
    n_head = y.n // (n_a + n_b)
    return [_copy(low, a, y, n_head, n_a), _copy(low, b, y, n_head, n_b, y_start=n_a)]


def _pool(op: Node, low: Lowering) -> Sequence[Work]:
    x, y = low.place(op.inputs[0]), low.place(op.outputs[0])
    constants = {"N": x.n, "IS_MEAN": op.op == "pool_mean"}
    return [low.dispatch("pool", constants, {"x": x, "y": y}, x=groups(x.n), m_rows=True)]


def _position_scale(op: Node, low: Lowering) -> Sequence[Work] | None:
    period, offset = op.attrs["period"], op.attrs["offset"]
    if period != int(period) or offset != int(offset) or offset < 0:
        return None
    y = low.place(op.outputs[0])
    constants = {"FACTOR": float(op.attrs["factor"]), "PERIOD": int(period), "OFFSET": int(offset)}
    return [low.dispatch("position_scale", constants, {"y": y}, x=1, m_rows=y.m_rows)]


LOWERED: dict[str, Callable[[Node, Lowering], Sequence[Work] | None]] = {
    "gather_rows": _gather_rows, "slice": _slice, "concat": _concat, "pool_first": _pool, "pool_mean": _pool,
    "position_scale": _position_scale,
}  # fmt: skip
