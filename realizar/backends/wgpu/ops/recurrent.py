"""Recurrent ops: causal_conv1d and token_shift (shaders/past_rows.wgsl), and those of shaders/recurrence.wgsl."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from realizar.backends.wgpu.lowering import Lowering, groups

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from realizar.backends.wgpu.kernels import Constant
    from realizar.backends.wgpu.lowering import Dispatch, Work
    from realizar.graph import Node

OUTER_OF_GROUP = 4
"""Rows of a state that a workgroup of shaders/recurrence.wgsl updates."""


def _causal_conv1d(op: Node, low: Lowering) -> Sequence[Work]:
    x, y = low.place(op.inputs[0]), low.place(op.outputs[0])
    weight, _ = low.vector(op.weights[0])
    bias, n_bias = low.vector(op.attrs["bias"][0])
    n_tap = low.tensors[op.weights[0]].shape[1]
    constants: dict[str, Constant] = {
        "N": x.n, "N_PAST": n_tap - 1, "N_TAP": n_tap, "HAS_BIAS": n_bias > 0,
        "IS_SILU": op.attrs["activation"] == "silu",
    }  # fmt: skip
    buffers = {"states": _state(op, low), "x": x, "weight": weight, "bias": bias, "y": y}
    parts = ["formulas", "past_rows"]
    made = low.dispatch("causal_conv1d", constants, buffers, x=groups(x.n), m_rows=False, parts=parts)
    return [made, _remember(op, low, n_tap - 1)]


def _token_shift(op: Node, low: Lowering) -> Sequence[Work]:
    x, y = low.place(op.inputs[0]), low.place(op.outputs[0])
    weight, n_weight = low.vector(op.weights[0])
    constants: dict[str, Constant] = {"N": x.n, "N_PAST": 1, "N_MIX": n_weight // x.n}
    buffers = {"states": _state(op, low), "x": x, "weight": weight, "y": y}
    made = low.dispatch("token_shift", constants, buffers, x=groups(n_weight), m_rows=False, parts=["past_rows"])
    return [made, _remember(op, low, 1)]


def _remember(op: Node, low: Lowering, n_past: int) -> Dispatch:
    """Store the last rows of x; in a dispatch of its own, since all rows of the step read those stored before."""
    x = low.place(op.inputs[0])
    constants: dict[str, Constant] = {"N": x.n, "N_PAST": n_past}
    buffers = {"states": _state(op, low), "x": x}
    return low.dispatch("remember_rows", constants, buffers, x=groups(x.n), m_rows=False, parts=["past_rows"])


def _selective_scan(op: Node, low: Lowering) -> Sequence[Work]:
    x, dt, b, _ = (low.place(i) for i in op.inputs)
    a, n_a = low.vector(op.weights[0])
    d, _ = low.vector(op.weights[1])
    bias, n_bias = low.vector(op.weights[2] if len(op.weights) > 2 else None)
    constants: dict[str, Constant] = {
        "N_OUTER": x.n, "N_INNER": op.attrs["n_state"], "N_HEAD": dt.n, "N_GROUP": b.n // op.attrs["n_state"],
        "N_A": n_a // dt.n, "HAS_BIAS": n_bias > 0,
    }  # fmt: skip
    return [_recurrence(op, low, ("x", "dt", "b", "c"), constants, {"a": a, "d": d, "bias": bias})]


def _delta_rule(op: Node, low: Lowering) -> Sequence[Work]:
    _, k, _, decay, _ = (low.place(i) for i in op.inputs)
    n_head, dim_v, dim_k = op.attrs["shape"]
    constants: dict[str, Constant] = {
        "N_OUTER": n_head * dim_v, "N_INNER": dim_k, "DIM_V": dim_v, "N_HEAD": n_head, "N_HEAD_K": k.n // dim_k,
        "N_DECAY": decay.n // n_head, "TILED": bool(op.attrs["tiled"]),
    }  # fmt: skip
    return [_recurrence(op, low, ("q", "k", "v", "decay", "beta"), constants, {})]


def _generalized_delta_rule(op: Node, low: Lowering) -> Sequence[Work]:
    n_head, dim_v, dim_k = op.attrs["shape"]
    constants: dict[str, Constant] = {"N_OUTER": n_head * dim_v, "N_INNER": dim_k, "DIM_V": dim_v}
    return [_recurrence(op, low, ("q", "k", "v", "decay", "a", "b"), constants, {})]


def _recurrence(
    op: Node, low: Lowering, names: Sequence[str], constants: dict[str, Constant], others: dict[str, Any]
) -> Dispatch:
    """Return the dispatch of an op whose file in shaders/ has the function `update`; `names` are of its inputs."""
    inputs = dict(zip(names, (low.place(i) for i in op.inputs), strict=True))
    buffers = {"states": _state(op, low), "y": low.place(op.outputs[0]), **inputs, **others}
    n_group = groups(int(constants["N_OUTER"]), OUTER_OF_GROUP)
    return low.dispatch("recurrence", constants, buffers, x=n_group, m_rows=False, parts=["formulas", op.op])


def _state(op: Node, low: Lowering) -> Any:
    return low.storage.states[op.attrs["state"]].buffer


LOWERED: dict[str, Callable[[Node, Lowering], Sequence[Work]]] = {
    "causal_conv1d": _causal_conv1d, "token_shift": _token_shift, "selective_scan": _selective_scan,
    "delta_rule": _delta_rule, "generalized_delta_rule": _generalized_delta_rule,
}  # fmt: skip
