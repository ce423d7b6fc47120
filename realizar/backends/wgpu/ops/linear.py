"""Products with weights, and rows of tables: shaders/linear*.wgsl, shaders/embed.wgsl and the forms of weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from realizar.backends.wgpu.lowering import MANY, ByRows, Dispatch, FromBatch, Lowering, Place, groups
from realizar.backends.wgpu.ops.elementwise import quantized
from realizar.backends.wgpu.ops.linear_one import Product, in_one, team_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from realizar.backends.wgpu.kernels import Constant
    from realizar.backends.wgpu.lowering import Work
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
ROWS_OF_INT8 = {1: (1, 1), 2: (2, 1), 4: (4, 1), 32: (8, 4)}
"""Rows of the step, at most -> those that a workgroup computes with activations of int8, and the rows of the weight of
each of its teams."""
FEW_OUTS, ROWS_OF_FEW = 5000, {1: (1, 1), 2: (2, 1), 8: (4, 1), 32: (8, 4)}
"""Weights with fewer rows than this, and how products with them are divided: so that they keep a device busy."""
TILE = 64
"""Rows of the weight and of the step that shaders/linear_tiles.wgsl computes at a time."""
LANES = 128
"""Invocations of a workgroup of shaders/linear_int8.wgsl."""
INVOCATIONS = 64
"""Invocations of a workgroup of shaders/linear.wgsl."""


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
    products = list(_products(op, low))
    one: Dispatch | None = None
    for product in products:
        if product.block:
            prepares = low.one_row.prepares(op)
            act, rounding = _rounding(low, x, product.block, prepares)
            works += rounding
            if product is products[0]:
                one = in_one(op, low, products, act)
                works += [] if one is None else [ByRows(x.m_rows, ((1, (one,)), (MANY, ())))]
            divisions = ROWS_OF_FEW if product.matrix.n_rows < FEW_OUTS else ROWS_OF_INT8
            choices = {most: _int8(op, low, act, product, *of_group) for most, of_group in divisions.items()}
            if one is not None:
                choices[1] = ()
            if low.uses_tiles:
                choices[MANY] = _dispatches(low, "linear_tiles", {}, {"act": act}, product, TILE, TILE)
        else:
            choices = {rows: _float(low, x, product, rows) for rows in ROWS_OF_GROUP}
        works.append(ByRows(x.m_rows, tuple(choices.items())))
    return works


def _rounding(low: Lowering, x: Place, block: int, is_joined: bool) -> tuple[Place, list[Work]]:
    """Return the memory of a rounded value, and what rounds it unless it is; joined with its product for one row."""
    act, is_new = low.rounded_to_int8(x, block)
    if not is_new and (is_joined or act.key not in low.skipped):
        return act, []
    made = quantized(low, x, act, block)
    if is_new and is_joined:
        low.skipped.add(act.key)
        return act, [ByRows(x.m_rows, ((1, ()), (MANY, (made,))))]
    low.skipped.discard(act.key)
    return act, [made] if is_new else [ByRows(x.m_rows, ((1, (made,)), (MANY, ())))]


def _products(op: Node, low: Lowering) -> Iterator[Product]:
    """Yield the products of an op."""
    residual = low.place(op.inputs[1]) if op.attrs["residual"] else None
    for own in low.grouped(op):
        names, biases, outputs = zip(*own, strict=True)
        matrix = low.weights.matrix(*(low.tensors[name] for name in names))
        bias = None if biases[0] is None else low.weights.vector(*(low.tensors[name] for name in biases))
        places = [low.place(i) for i in outputs]
        yield Product(matrix, low.rounded.block(names[0]), list(outputs), places, bias, residual)


def _float(low: Lowering, x: Place, product: Product, rows: int) -> tuple[Dispatch, ...]:
    """Return the product in float32, for `rows` rows of the step at a time."""
    constants: dict[str, Constant] = {**ROWS_OF_GROUP[rows], "N_ROW": rows}
    return _dispatches(low, "linear", constants, {"x": x}, product, rows, INVOCATIONS // 16)


def _int8(op: Node, low: Lowering, act: Place, product: Product, rows: int, outs: int) -> tuple[Dispatch, ...]:
    """Return the product with activations of int8, for `rows` rows of the step and `outs` of the weight at a time."""
    team = team_of(op, low)
    in_subgroups = low.subgroup_size >= team
    constants: dict[str, Constant] = {
        "LANES": LANES, "TEAM": team, "N_ROW": rows, "OUTS": outs, "HAS_TEAMS_IN_SUBGROUPS": in_subgroups,
        "HAS_TEAMS_IN_MEMORY": not in_subgroups,
    }  # fmt: skip
    return _dispatches(low, "linear_int8", constants, {"act": act}, product, rows, LANES // team * outs)


def _dispatches(
    low: Lowering, name: str, constants: Mapping[str, Constant], buffers: Mapping[str, Any], product: Product,
    rows: int, n_out_of_group: int,
) -> tuple[Dispatch, ...]:  # fmt: skip
    """Return the dispatches of a kernel for all parts of a matrix."""
    matrix, y = product.matrix, product.places
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
        n, parts = groups(part.n_rows, n_out_of_group), [matrix.form.part, *(["int8"] if "act" in buffers else [])]
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
