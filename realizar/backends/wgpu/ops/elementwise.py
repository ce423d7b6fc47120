"""Elementwise ops: one kernel, shaders/elementwise.wgsl, with a formula for each."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

from realizar.backends.wgpu.lowering import Lowering, groups

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

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


def _lower(op: Node, low: Lowering) -> Sequence[Work]:
    x, y = low.place(op.inputs[0]), low.place(op.outputs[0])
    constants: dict[str, Constant] = {"N": x.n, "F": FORMULAS[op.op], "B_N": 1, "B_REPEAT": 1, "B_LD": 0, "B_AT": 0}
    constants.update({name.upper(): float(value) for name, value in op.attrs.items()})
    buffers = {"a": x, "y": y}
    if op.weights:
        buffers["b"], constants["B_N"] = low.vector(op.weights[0])
    elif len(op.inputs) > 1:
        buffers["b"] = low.place(op.inputs[1])
        n = prod(low.plan.shapes[op.inputs[1]])
        constants.update(B_N=n, B_REPEAT=1 if n == 1 else x.n // n)
    return [low.dispatch("elementwise", constants, buffers, x=groups(x.n), m_rows=y.m_rows)]


LOWERED: dict[str, Callable[[Node, Lowering], Sequence[Work]]] = dict.fromkeys(FORMULAS, _lower)
