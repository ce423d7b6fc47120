"""Norms and softmax: shaders/norm.wgsl, or norm_quantized.wgsl before a product."""

from __future__ import annotations

from typing import TYPE_CHECKING

from realizar.backends.wgpu.lowering import Lowering

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from realizar.backends.wgpu.kernels import Constant
    from realizar.backends.wgpu.lowering import Work
    from realizar.graph import Node

KINDS = {"rms_norm": 0, "layer_norm": 1, "softmax": 2}


def _lower(op: Node, low: Lowering) -> Sequence[Work]:
    x, y = low.place(op.inputs[0]), low.place(op.outputs[0])
    n = low.plan.shapes[op.inputs[0]][-1]
    weight, n_weight = low.vector(op.weights[0] if op.weights else None)
    bias, n_bias = low.vector(op.weights[1] if len(op.weights) > 1 else None)
    constants: dict[str, Constant] = {
        "KIND": KINDS[op.op], "N": n, "EPS": float(op.attrs.get("eps", 0.0)), "N_WEIGHT": n_weight, "N_BIAS": n_bias,
    }  # fmt: skip
    buffers = {"x": x, "weight": weight, "bias": bias}
    rounding = low.rounded.of_output(op)
    if rounding is None or x.n != n or op.op == "softmax":
        return [low.dispatch("norm", constants, {**buffers, "y": y}, x=x.n // n, m_rows=y.m_rows, parts=["reduce"])]
    act, _ = low.rounded_to_int8(y, rounding.block)
    buffers.update(act=act, y=y if rounding.keeps else None)
    constants.update(ACT_BLOCK=rounding.block, KEEPS=rounding.keeps, Y_LD=0, Y_AT=0)
    return [low.dispatch("norm_quantized", constants, buffers, x=1, m_rows=y.m_rows, parts=["reduce", "quantize"])]


LOWERED: dict[str, Callable[[Node, Lowering], Sequence[Work]]] = dict.fromkeys(KINDS, _lower)
