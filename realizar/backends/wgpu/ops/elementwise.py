"""Elementwise ops: a formula for each, in shaders/elementwise.wgsl, or elementwise_rounded.wgsl before a product."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any

from realizar.backends.wgpu.lowering import MANY, ByRows, Dispatch, Lowering, Place, groups

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from realizar.backends.wgpu.kernels import Constant
    from realizar.backends.wgpu.lowering import Work
    from realizar.graph import Node

FORMULAS = {
    "add": "p + q",
    "mul": "p * q",
    "mul_weight": "p * q",
    "scale": "p * FACTOR",
    "scale_rows": "p * q",
    "scale_heads": "p * q",
    "clamp": "clamp(p, -LIMIT, LIMIT)",
    "softcap": "CAP * tanh_of(p / CAP)",
    "silu": "silu(p)",
    "gelu": "gelu(p)",
    "gelu_erf": "gelu_erf(p)",
    "sigmoid": "1.0 / (1.0 + exp(-p))",
    "relu": "max(p, 0.0)",
    "softplus": "softplus(p)",
    "elu": "select(exp_minus_one(min(p, 0.0)), p, p > 0.0)",
    "swiglu": "silu(p) * q",
    "geglu": "gelu(p) * q",
    "geglu_erf": "gelu_erf(p) * q",
}
"""Op -> its result from p, an element of its first input, and q, of the second or of its weight."""


NO_SECOND: dict[str, Constant] = {"HAS_SECOND": False, "B_N": 1, "B_REPEAT": 1, "B_LD": 0, "B_AT": 0}
"""Constants for a formula that does not use q."""
ROUNDED_ELEMENTS = 256
"""Elements that one workgroup of shaders/elementwise_rounded.wgsl rounds."""


def _lower(op: Node, low: Lowering) -> Sequence[Work]:
    x, y = low.place(op.inputs[0]), low.place(op.outputs[0])
    constants: dict[str, Constant] = {"N": x.n, "F": FORMULAS[op.op], **NO_SECOND}
    constants.update({name.upper(): float(value) for name, value in op.attrs.items()})
    buffers: dict[str, Any] = {"a": x}
    if op.weights:
        buffers["b"], constants["B_N"] = low.vector(op.weights[0])
    elif len(op.inputs) > 1:
        buffers["b"] = low.place(op.inputs[1])
        n = prod(low.plan.shapes[op.inputs[1]])
        constants.update(B_N=n, B_REPEAT=1 if n == 1 else x.n // n)
    constants["HAS_SECOND"] = "b" in buffers
    rounding = low.rounded.of_output(op)
    whole = low.dispatch(
        "elementwise", constants, {**buffers, "y": y}, x=groups(x.n), m_rows=y.m_rows, parts=["formulas"]
    )
    if rounding is None:
        made = whole
    else:
        act, _ = low.rounded_to_int8(y, rounding.block)
        made = _rounded(low, constants, buffers, act, rounding.block, y if rounding.keeps else None)
    if id(op) in low.early:
        return [ByRows(y.m_rows, ((1, ()), (MANY, (made,))))]
    reader = low.one_row.reader(op.outputs[0])
    if reader is not None and low.one_row.prepares(reader[0]):
        return [ByRows(y.m_rows, ((1, (whole,)), (MANY, (made,))))]
    return [made]


def quantized(low: Lowering, x: Place, act: Place, block: int) -> Dispatch:
    """Return the dispatch that rounds a value to int8."""
    return _rounded(low, {"N": x.n, "F": "p", **NO_SECOND}, {"a": x}, act, block, None)


def _rounded(
    low: Lowering,
    constants: Mapping[str, Constant],
    buffers: Mapping[str, Any],
    act: Place,
    block: int,
    y: Place | None,
) -> Dispatch:
    """Return the dispatch that rounds a formula to int8, and keeps its values in y if that is a place."""
    return low.dispatch(
        "elementwise_rounded",
        {**constants, "ACT_BLOCK": block, "KEEPS": y is not None, "Y_LD": 0, "Y_AT": 0},
        {**buffers, "act": act, "y": y},
        x=groups(buffers["a"].n, ROUNDED_ELEMENTS),
        m_rows=act.m_rows,
        parts=["formulas", "round"],
    )


LOWERED: dict[str, Callable[[Node, Lowering], Sequence[Work]]] = dict.fromkeys(FORMULAS, _lower)
