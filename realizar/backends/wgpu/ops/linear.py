"""Products with weights, and rows of tables: shaders/linear.wgsl, shaders/embed.wgsl and the forms of weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from realizar.backends.wgpu.lowering import ByRows, Dispatch, FromBatch, Lowering, Place, groups

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from realizar.backends.wgpu.lowering import Work
    from realizar.backends.wgpu.weights import Matrix, Part
    from realizar.graph import Node

ROWS = {"token": "token(id.y)", "id": "token(id.y)", "position": "u32(position(id.y))", "type": "0u"}
"""`by` of an embedding -> WGSL of the row of its table."""
ROWS_OF_GROUP = {
    1: {"SUMS": "f32", "PRODUCTS": "product(weights, first, c)", "OWN": ""},
    4: {
        "SUMS": "vec4<f32>",
        "PRODUCTS": "vec4<f32>(product(weights, first, c), product(weights, min(first + 1u, last), c), "
        "product(weights, min(first + 2u, last), c), product(weights, min(first + 3u, last), c))",
        "OWN": "[lane]",
    },
}
"""Rows of the step that a workgroup of a product computes, if there are no more, or any number; WGSL for them."""
OUTPUTS_OF_GROUP = 4


def _embed(op: Node, low: Lowering) -> Sequence[Work] | None:
    table, y = low.weights.matrix(low.tensors[op.weights[0]]), low.place(op.outputs[0])
    if len(table.parts) > 1:
        return None
    constants = {
        **table.form.constants, "ROW_FOURS": table.row_fours, "N": table.k, "SCALE": float(op.attrs["scale"]),
        "ROW": ROWS[op.attrs["by"]],
    }  # fmt: skip
    buffers = {**table.parts[0].buffers, "y": y}
    made = low.dispatch(
        "embed", constants, buffers, x=groups(table.row_fours), m_rows=False, parts=[table.form.part]
    )  # fmt: skip
    return [FromBatch((made,))] if op.attrs["by"] == "token" else [made]


def _linear(op: Node, low: Lowering) -> Sequence[Work] | None:
    x = low.place(op.inputs[0])
    if x.n % 4 or x.at % 4 or x.ld % 4:
        return None
    residual = low.place(op.inputs[1]) if op.attrs["residual"] else None
    choices = []
    for rows in ROWS_OF_GROUP:
        made: list[Dispatch] = []
        for name, bias, i in zip(op.weights, op.attrs["bias"], op.outputs, strict=True):
            matrix = low.weights.matrix(low.tensors[name])
            vector, n_bias = low.vector(bias)
            others = {"x": x, "y": low.place(i), **({"bias": vector} if n_bias else {})}
            made += [_product(low, matrix, part, others, residual, rows) for part in matrix.parts]
        choices.append((rows, tuple(made)))
    return [ByRows(x.m_rows, tuple(choices))]


def _product(
    low: Lowering, matrix: Matrix, part: Part, others: dict[str, Any], residual: Place | None, rows: int
) -> Dispatch:
    """Return the product with a part of a matrix, for `rows` rows of the step at a time."""
    x: Place = others["x"]
    constants = {
        **matrix.form.constants, **ROWS_OF_GROUP[rows], "ROW_FOURS": matrix.row_fours, "N_OUT": part.n_rows,
        "FIRST_OUT": part.first, "N_ROW": rows, "HAS_BIAS": "bias" in others, "HAS_RESIDUAL": residual is not None,
        "N": "n_outputs()" if x.m_rows else "n_rows()", "RESIDUAL_LD": 0, "RESIDUAL_AT": 0,
    }  # fmt: skip
    buffers = {**part.buffers, **others}
    if residual is not None:
        buffers["residual"] = residual
    return low.dispatch(
        "linear", constants, buffers, x=groups(part.n_rows, OUTPUTS_OF_GROUP), m_rows=x.m_rows, per=rows,
        parts=[matrix.form.part],
    )  # fmt: skip


LOWERED: dict[str, Callable[[Node, Lowering], Sequence[Work] | None]] = {"embed": _embed, "linear": _linear}
