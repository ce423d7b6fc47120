"""Products and transforms of heads or blocks of a row: per_head_linear, hadamard and decay."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

from realizar.backends.wgpu.lowering import Lowering, groups
from realizar.backends.wgpu.ops.linear import _rounding

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from realizar.backends.wgpu.kernels import Constant
    from realizar.backends.wgpu.lowering import Work
    from realizar.graph import Node

WIDEST = 4096
"""Elements of a Hadamard transform at most: a block is in the memory of a workgroup."""


def _per_head_linear(op: Node, low: Lowering) -> Sequence[Work] | None:
    x, y = low.place(op.inputs[0]), low.place(op.outputs[0])
    n_head, n_in = low.plan.shapes[op.inputs[0]]
    tensor = low.tensors[op.weights[0]]
    n_column = tensor.shape[-1] if len(tensor.shape) > 1 else n_in
    matrix = low.weights.matrix(tensor)
    if n_column % 4 or x.at % 4 or x.ld % 4 or len(matrix.parts) > 1:
        return None
    n_row_of_head = prod(tensor.shape) // (n_head * n_column)
    first, end = op.attrs["rows"] or (0, n_row_of_head)
    constants: dict[str, Constant] = {
        **matrix.form.constants, "ROW_FOURS": n_column // 4, "N_ROW_OF_HEAD": n_row_of_head, "FIRST": first,
        "N_ROW": end - first,
    }  # fmt: skip
    buffers = {**matrix.parts[0].buffers, "x": x, "y": y}
    if op.attrs["transposed"]:
        n, parts = groups(n_column // 4), [matrix.form.part]
        return [low.dispatch("per_head_transposed", constants, buffers, x=n, z=n_head, m_rows=y.m_rows, parts=parts)]
    block = low.rounded.block(op.weights[0])
    works: list[Work] = []
    if block:
        buffers["act"], works = _rounding(low, x, block, False)
    constants.update(IS_INT8=block > 0, IS_FLOAT=not block, X_N=x.n)
    n, parts = groups(end - first), [matrix.form.part, *(["int8"] if block else [])]
    made = low.dispatch("per_head_linear", constants, buffers, x=n, z=n_head, m_rows=y.m_rows, parts=parts)
    return [*works, made]


def _hadamard(op: Node, low: Lowering) -> Sequence[Work] | None:
    x, y, width = low.place(op.inputs[0]), low.place(op.outputs[0]), op.attrs["width"]
    if width > WIDEST:
        return None
    signs, n_sign = low.vector(op.weights[0] if op.weights else None)
    constants: dict[str, Constant] = {
        "WIDTH": width, "SCALE": width**-0.5, "HAS_SIGNS": n_sign > 0, "INVERSE": bool(op.attrs["inverse"])
    }  # fmt: skip
    return [low.dispatch("hadamard", constants, {"x": x, "signs": signs, "y": y}, x=x.n // width, m_rows=y.m_rows)]


def _decay(op: Node, low: Lowering) -> Sequence[Work]:
    x, y = low.place(op.inputs[0]), low.place(op.outputs[0])
    bias, _ = low.vector(op.weights[0])
    a, n_a = low.vector(op.weights[1] if len(op.weights) > 1 else None)
    constants: dict[str, Constant] = {"N": x.n, "N_A": n_a, "BOUND": float(op.attrs["bound"])}
    buffers = {"x": x, "bias": bias, "a": a, "y": y}
    return [low.dispatch("decay", constants, buffers, x=groups(x.n), m_rows=y.m_rows, parts=["formulas"])]


LOWERED: dict[str, Callable[[Node, Lowering], Sequence[Work] | None]] = {
    "per_head_linear": _per_head_linear, "hadamard": _hadamard, "decay": _decay
}  # fmt: skip
