"""Norms and softmax: shaders/norm.wgsl, norm_rounded.wgsl before a product, and softmax.wgsl."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from realizar.backends.wgpu.lowering import MANY, ByRows, Lowering, Place

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from realizar.backends.wgpu.kernels import Constant
    from realizar.backends.wgpu.lowering import Work
    from realizar.graph import Node

KINDS = {"rms_norm": 1, "layer_norm": 2}
"""KIND of shaders/norm_row.wgsl; 0 is no norm."""
LANES = 512
"""Invocations that compute a norm of a whole row: the order of its sum depends on them."""
LANES_OF_PART = 64
"""Invocations that compute a norm of a part of a row, such as a head."""


def norm_of(op: Node | None, low: Lowering, x: Place) -> tuple[dict[str, Constant], dict[str, Any]]:
    """Return the constants and buffers of shaders/norm_row.wgsl for a norm, or for x as it is."""
    n, n_weight, n_bias, weight, bias, kind, eps = x.n, 0, 0, None, None, 0, 0.0
    if op is not None:
        x, n, kind = low.place(op.inputs[0]), low.plan.shapes[op.inputs[0]][-1], KINDS[op.op]
        eps = float(op.attrs["eps"])
        weight, n_weight = low.vector(op.weights[0] if op.weights else None)
        bias, n_bias = low.vector(op.weights[1] if len(op.weights) > 1 else None)
    is_aligned = all(i % 4 == 0 for i in (n, x.at, x.ld, n_weight, n_bias))
    constants: dict[str, Constant] = {
        "KIND": kind, "N": n, "EPS": eps, "N_WEIGHT": n_weight, "N_BIAS": n_bias, "IS_ALIGNED": is_aligned,
        "IS_UNALIGNED": not is_aligned, "HAS_FOUR_WEIGHTS": n_weight > 0 and is_aligned,
        "HAS_WEIGHTS": n_weight > 0 and not is_aligned, "HAS_FOUR_BIASES": n_bias > 0 and is_aligned,
        "HAS_BIASES": n_bias > 0 and not is_aligned,
    }  # fmt: skip
    return constants, {"x": x, "norm_weight": weight, "norm_bias": bias}


def _norm(op: Node, low: Lowering) -> Sequence[Work]:
    x, y = low.place(op.inputs[0]), low.place(op.outputs[0])
    constants, buffers = norm_of(op, low, x)
    n, rounding = int(constants["N"]), low.rounded.of_output(op)
    if rounding is None or x.n != n:
        constants["LANES"] = LANES if x.n == n else LANES_OF_PART
        parts = ["reduce", "norm_row"]
        return [low.dispatch("norm", constants, {**buffers, "y": y}, x=x.n // n, m_rows=y.m_rows, parts=parts)]
    act, _ = low.rounded_to_int8(y, rounding.block)
    buffers.update(act=act, y=y if rounding.keeps else None)
    constants.update(LANES=LANES, ACT_BLOCK=rounding.block, KEEPS=rounding.keeps, Y_LD=0, Y_AT=0)
    parts = ["reduce", "norm_row", "norm_eight", "round"]
    made = low.dispatch("norm_rounded", constants, buffers, x=1, m_rows=y.m_rows, parts=parts)
    return [ByRows(y.m_rows, ((1, ()), (MANY, (made,)))) if low.one_row.joins_product(op) else made]


def _softmax(op: Node, low: Lowering) -> Sequence[Work]:
    x, y = low.place(op.inputs[0]), low.place(op.outputs[0])
    n = low.plan.shapes[op.inputs[0]][-1]
    constants: dict[str, Constant] = {"N": n, "LANES": 128}
    parts = ["reduce"]
    return [low.dispatch("softmax", constants, {"x": x, "y": y}, x=x.n // n, m_rows=y.m_rows, parts=parts)]


LOWERED: dict[str, Callable[[Node, Lowering], Sequence[Work]]] = {**dict.fromkeys(KINDS, _norm), "softmax": _softmax}
