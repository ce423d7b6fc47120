"""Products with weights, and rows of tables: shaders/linear*.wgsl, shaders/embed.wgsl and the forms of weights."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Any, NamedTuple

from realizar.backends.wgpu.lowering import ByRows, Dispatch, FromBatch, Lowering, Place, groups
from realizar.backends.wgpu.ops.elementwise import quantized

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from realizar.backends.wgpu.kernels import Constant
    from realizar.backends.wgpu.lowering import Work
    from realizar.backends.wgpu.weights import Matrix
    from realizar.graph import Node

ROWS = {"token": "token(id.y)", "id": "token(id.y)", "position": "u32(position(id.y))", "type": "0u"}
"""`by` of an embedding -> WGSL of the row of its table."""
ROWS_OF_GROUP: dict[int, dict[str, str]] = {
    1: {"SUMS": "f32", "PRODUCTS": "product(weights, first, c)", "OWN": ""},
    4: {
        "SUMS": "vec4<f32>",
        "PRODUCTS": "vec4<f32>(product(weights, first, c), product(weights, min(first + 1u, last), c), "
        "product(weights, min(first + 2u, last), c), product(weights, min(first + 3u, last), c))",
        "OWN": "[lane]",
    },
}
"""Rows of the step that a workgroup of a float32 product computes, if there are no more, or any number; their WGSL."""
ROWS_OF_INT8 = {1: 1, 2: 2, 4: 4, 32: 8}
"""Rows of the step, at most -> those that a workgroup computes with activations of int8. A GPU took 5 ms for a step of
8 rows of phi-2, and 23 ms for one of 32 in tiles, which are half empty then."""
MANY, TILE = 1 << 31, 64
"""Any number of rows: shaders/linear_tiles.wgsl computes tiles of this many rows of the weight and of the step."""
TEAMS = ((16, 128), (32, 64))
"""Invocations that share a row of a weight, and those of a workgroup, of shaders/linear_int8.wgsl; for long rows."""
INVOCATIONS = 64
"""Invocations of a workgroup of shaders/linear.wgsl."""
MAX_OUTPUTS = 3
"""Values that one dispatch writes, at most."""


class Product(NamedTuple):
    """Weights of one format and the same input: one matrix, whose rows belong to several values."""

    matrix: Matrix
    outputs: list[Place]
    bias: Any
    residual: Place | None


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
    works: list[Work] = []
    for block, product in _products(op, low):
        if block:
            act, is_new = low.rounded_to_int8(x, block)
            if is_new:
                works.append(quantized(low, x, act, block))
            choices = {most: _int8(low, act, product, rows) for most, rows in ROWS_OF_INT8.items()}
            if low.uses_tiles:
                choices[MANY] = _dispatches(low, "linear_tiles", {}, {"act": act}, product, TILE, TILE)
        else:
            choices = {rows: _float(low, x, product, rows) for rows in ROWS_OF_GROUP}
        works.append(ByRows(x.m_rows, tuple(choices.items())))
    return works


def _products(op: Node, low: Lowering) -> Iterator[tuple[int, Product]]:
    """Yield the block of activations of each product, 0 for float32, and the product."""
    residual = low.place(op.inputs[1]) if op.attrs["residual"] else None
    rows = zip(op.weights, op.attrs["bias"], op.outputs, strict=True)
    for (_, has_bias), group in groupby(rows, lambda row: (low.tensors[row[0]].type, row[1] is not None)):
        own = list(group)
        while own:
            n = min(len(own), MAX_OUTPUTS)
            while n > 1 and not low.weights.fits(*(low.tensors[name] for name, _, _ in own[:n])):
                n -= 1
            names, biases, outputs = zip(*own[:n], strict=True)
            own = own[n:]
            matrix = low.weights.matrix(*(low.tensors[name] for name in names))
            bias = low.weights.vector(*(low.tensors[name] for name in biases)) if has_bias else None
            yield low.rounded.block(names[0]), Product(matrix, [low.place(i) for i in outputs], bias, residual)


def _float(low: Lowering, x: Place, product: Product, rows: int) -> tuple[Dispatch, ...]:
    """Return the product in float32, for `rows` rows of the step at a time."""
    constants: dict[str, Constant] = {**ROWS_OF_GROUP[rows], "N_ROW": rows}
    return _dispatches(low, "linear", constants, {"x": x}, product, rows, INVOCATIONS // 16)


def _int8(low: Lowering, act: Place, product: Product, rows: int) -> tuple[Dispatch, ...]:
    """Return the product with activations of int8, for `rows` rows of the step at a time."""
    lanes, invocations = TEAMS[product.matrix.k > 4096]
    has_subgroups = low.subgroup_size >= lanes
    constants: dict[str, Constant] = {
        "INVOCATIONS": invocations, "LANES": lanes, "N_ROW": rows, "HAS_SUBGROUPS": has_subgroups,
        "USES_MEMORY": not has_subgroups,
    }  # fmt: skip
    return _dispatches(low, "linear_int8", constants, {"act": act}, product, rows, invocations // lanes)


def _dispatches(
    low: Lowering, name: str, constants: Mapping[str, Constant], buffers: Mapping[str, Any], product: Product,
    rows: int, n_out_of_group: int,
) -> tuple[Dispatch, ...]:  # fmt: skip
    """Return the dispatches of a kernel for all parts of a matrix."""
    matrix, y = product.matrix, product.outputs
    x = next(iter(buffers.values()))
    made = []
    for part in matrix.parts:
        all_constants = {
            **matrix.form.constants, **constants, "ROW_FOURS": matrix.row_fours, "N_OUT": part.n_rows,
            "FIRST_OUT": part.first, "HAS_BIAS": product.bias is not None,
            "HAS_RESIDUAL": product.residual is not None, "RESIDUAL_LD": 0, "RESIDUAL_AT": 0,
            "N": "n_outputs()" if x.m_rows else "n_rows()", "STORE": _store(y),
        }  # fmt: skip
        bound = {**part.buffers, **buffers, "bias": product.bias, "residual": product.residual}
        bound.update({f"y{j}": place for j, place in enumerate(y)})
        n, parts = groups(part.n_rows, n_out_of_group), [matrix.form.part]
        made.append(low.dispatch(name, all_constants, bound, x=n, m_rows=x.m_rows, per=rows, parts=parts))
    return tuple(made)


def _store(outputs: Sequence[Place]) -> str:
    """Return WGSL that writes a row of the matrix to the value that it belongs to."""
    lines = [
        f"@group(1) @binding({4 + j}) var<storage, read_write> y{j}: array<f32>;" for j in range(len(outputs))
    ]  # fmt: skip
    lines.append("fn store(row: u32, out: u32, value: f32) {")
    first = 0
    for j, place in enumerate(outputs):
        end = first + place.n
        lines.append(f"    if (out < {end}u) {{ y{j}[row * Y{j}_LD + Y{j}_AT + out - {first}u] = value; return; }}")
        first = end
    return "\n".join([*lines, "}"])


LOWERED: dict[str, Callable[[Node, Lowering], Sequence[Work] | None]] = {"embed": _embed, "linear": _linear}
