"""Mixtures of experts: shaders/choose_experts.wgsl, weigh_experts.wgsl and expert_product.wgsl."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from realizar.backends.wgpu.lowering import Lowering, Place, groups
from realizar.backends.wgpu.ops.linear import _rounding
from realizar.graph.routing import SMALLEST_SUM

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from realizar.backends.wgpu.kernels import Constant
    from realizar.backends.wgpu.lowering import Work
    from realizar.graph import Node

GATING = {"softmax": 2, "sigmoid": 1}
"""Gating -> its number in shaders/gating.wgsl; the others take logits as they are."""
ACTIVATIONS = {
    "silu": "silu(g) * p",
    "gelu": "gelu(g) * p",
    "swiglu_oai": "min(g, 7.0) / (1.0 + exp(-1.702 * min(g, 7.0))) * (clamp(p, -7.0, 7.0) + 1.0)",
    "relu": "max(g, 0.0) * p",
    "relu2": "max(p, 0.0) * max(p, 0.0)",
    "gelu_erf": "gelu_erf(p)",
}
"""`activation` of the op `experts` -> WGSL of the gate's product g and the other product p."""
MOST_USED = 64
"""Experts of a row at most: invocations of a workgroup of weigh_experts.wgsl."""
MOST_EXPERTS = 2048
"""Experts at most: their scores are in the memory of a workgroup."""
OUTPUTS_OF_GROUP = 4


def _choose(op: Node, low: Lowering) -> Sequence[Work] | None:
    logits, ids = low.place(op.inputs[0]), low.place(op.outputs[0])
    if logits.n > MOST_EXPERTS:
        return None
    bias, n_bias = low.vector(op.weights[0] if op.weights else None)
    attrs = op.attrs
    # Without a bias and groups, softmax and sigmoid keep the order, and logits have no ties from rounding.
    gates = n_bias or attrs["n_group"] > 1
    constants: dict[str, Constant] = {
        "N_EXPERT": logits.n, "N_USED": attrs["n_used"], "N_GROUP": max(attrs["n_group"], 1),
        "N_GROUP_USED": attrs["n_group_used"], "N_GROUP_BEST": attrs["n_group_best"], "HAS_BIAS": n_bias > 0,
        "GATING": GATING.get(attrs["gating"], 0) if gates else 0,
    }  # fmt: skip
    buffers = {"logits": logits, "bias": bias, "ids": ids}
    return [low.dispatch("choose_experts", constants, buffers, x=1, m_rows=ids.m_rows, parts=["reduce", "gating"])]


def _weigh(op: Node, low: Lowering) -> Sequence[Work] | None:
    logits, ids = (low.place(i) for i in op.inputs)
    y = low.place(op.outputs[0])
    if y.n > MOST_USED:
        return None
    scale, n_scale = low.vector(op.weights[0] if op.weights else None)
    attrs = op.attrs
    constants: dict[str, Constant] = {
        "N_EXPERT": logits.n, "N_USED": y.n, "GATING": GATING.get(attrs["gating"], 0), "HAS_SCALE": n_scale > 0,
        "OF_CHOSEN": attrs["gating"] == "softmax_chosen", "NORMALIZE": bool(attrs["normalize"]),
        "SCALE": float(attrs["scale"]), "SMALLEST_SUM": SMALLEST_SUM,
    }  # fmt: skip
    buffers = {"logits": logits, "ids": ids, "expert_scale": scale, "y": y}
    return [low.dispatch("weigh_experts", constants, buffers, x=1, m_rows=y.m_rows, parts=["reduce", "gating"])]


def _experts(op: Node, low: Lowering) -> Sequence[Work] | None:
    x, ids, weights = (low.place(i) for i in op.inputs)
    n_ff, n_embd = low.tensors[op.weights[-2]].shape[1:]
    matrices = [low.weights.matrix(low.tensors[name]) for name in op.weights]
    if x.at % 4 or x.ld % 4 or n_embd % 4 or n_ff % 4 or any(len(matrix.parts) > 1 for matrix in matrices):
        return None
    formula = ACTIVATIONS[op.attrs["activation"]]
    if op.attrs["limit"]:
        limit = f"{float(op.attrs['limit'])!r}"
        formula = f"clamp(silu(g), -{limit}, {limit}) * clamp(p, -{limit}, {limit})"
    *gates, up, down = range(len(op.weights))
    hidden = low.scratch(ids.n * n_ff, x.m_rows)
    made: list[Work] = []
    buffers: dict[str, Any] = {"ids": ids, "x": x}
    for j in gates:
        gate = low.scratch(ids.n * n_ff, x.m_rows)
        made += _product(op, low, j, {**buffers, "y": gate}, "p")
        buffers["gate"] = gate
    made += _product(op, low, up, {**buffers, "y": hidden}, formula)
    sums = {"ids": ids, "x": hidden, "weights": weights, "y": low.place(op.outputs[0])}
    return [*made, *_product(op, low, down, sums, "p")]


def _product(op: Node, low: Lowering, j: int, buffers: dict[str, Any], formula: str) -> list[Work]:
    """Return the product with the j-th weight: of each rank, or, with weights of the experts, summed over them.

    Its input is rounded before, if the weight is multiplied with int8 and it is not rounded yet.
    """
    matrix, n_out = low.weights.matrix(low.tensors[op.weights[j]]), low.tensors[op.weights[j]].shape[1]
    bias, n_bias = low.vector(op.attrs["bias"][j])
    scales, n_scale = low.vector(op.attrs["scales"][j])
    ids, y, sums = buffers["ids"], buffers["y"], "weights" in buffers
    gate: Place | None = buffers.get("gate")
    block = low.rounded.block(op.weights[j])
    constants: dict[str, Constant] = {
        **matrix.form.constants, "ROW_FOURS": matrix.row_fours, "N_OUT": n_out, "N_USED": ids.n, "F": formula,
        "X_OF_RANK": matrix.k if sums else 0, "HAS_BIAS": n_bias > 0, "HAS_SCALE": n_scale > 0, "SUMS": sums,
        "HAS_GATE": gate is not None, "GATE_LD": 0, "GATE_AT": 0, "WEIGHTS_LD": 0, "WEIGHTS_AT": 0,
        "IS_INT8": block > 0, "IS_FLOAT": not block, "X_N": buffers["x"].n,
    }  # fmt: skip
    bound = {**matrix.parts[0].buffers, **buffers, "bias": bias, "expert_scales": scales}
    works: list[Work] = []
    if block:
        bound["act"], works = _rounding(low, buffers["x"], block, False)
    made = low.dispatch(
        "expert_product", constants, bound, x=groups(n_out, OUTPUTS_OF_GROUP), z=1 if sums else ids.n,
        m_rows=y.m_rows, parts=["formulas", matrix.form.part, *(["int8"] if block else [])],
    )  # fmt: skip
    return [*works, made]


LOWERED: dict[str, Callable[[Node, Lowering], Sequence[Work] | None]] = {
    "choose_experts": _choose, "weigh_experts": _weigh, "experts": _experts
}  # fmt: skip
