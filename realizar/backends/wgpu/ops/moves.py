"""Ops that copy elements: gather_rows, slice and concat (shaders/copy.wgsl)."""

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


LOWERED: dict[str, Callable[[Node, Lowering], Sequence[Work]]] = {
    "gather_rows": _gather_rows, "slice": _slice, "concat": _concat
}  # fmt: skip
