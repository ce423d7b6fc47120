"""Products in a step of one row, with what is around them: shaders/linear_one.wgsl."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

from realizar.backends.wgpu.kernels import Part
from realizar.backends.wgpu.lowering import Dispatch, Lowering, Place, groups
from realizar.backends.wgpu.ops.elementwise import FORMULAS
from realizar.backends.wgpu.ops.norms import LANES, norm_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from realizar.backends.wgpu.kernels import Constant
    from realizar.backends.wgpu.weights import Matrix
    from realizar.graph import Node

TEAMS = (16, 32)
"""Invocations that share a row of a weight, if it has at most 4096 elements, and if it has more."""
WORKGROUPS, MAX_TURNS = 256, 8
"""Workgroups that a device computes at the same time, about: with more, a team computes several rows of a weight, one
after another, since each workgroup prepares the input."""
FIRST_BINDINGS = (10, 26, 42)
"""Of each product: at most so many in a dispatch."""
FIRST_OUTPUT = 60


class Product(NamedTuple):
    """Weights of one format and the same input: one matrix, whose rows belong to several values.

    Attributes
    ----------
    matrix : Matrix
    block : int
        Elements of the input that share a scale when they are rounded to int8; 0: they are not.
    outputs : list of Place
    bias : wgpu buffer | None
    residual : Place | None
    """

    matrix: Matrix
    block: int
    outputs: list[Place]
    bias: Any
    residual: Place | None


class Text(NamedTuple):
    """WGSL of a dispatch, and what it is made with."""

    first: str
    second: str
    store: str
    outputs: tuple[Place, ...]
    n_out: int


def team_of(op: Node, low: Lowering) -> int:
    """Return the invocations that share a row of a weight: the same for all that a dispatch sums."""
    both = low.one_row.summed(op) or (op,)
    return TEAMS[max(low.place(each.inputs[0]).n for each in both) > 4096]


def in_one(op: Node, low: Lowering, products: Sequence[Product]) -> list[Dispatch] | None:
    """Return the dispatch of a linear for one row, or none if that of a later op computes it; None if there is no such.

    Parameters
    ----------
    op : Node
    low : Lowering
    products : sequence of Product
    """
    if not low.one_row.prepares(op):
        return None
    both = low.one_row.summed(op)
    if both is None:
        return [_joined(op, low, products)]
    if op is both[0]:
        low.waiting[id(op)] = products[0]
        return []
    return [_sum_of_two(both, low, (low.waiting[id(both[0])], products[0]))]


def _joined(op: Node, low: Lowering, products: Sequence[Product]) -> Dispatch:
    """All products of a linear, and the activation after them, if any."""
    parts, buffers = _input(op, low, products[0].block, "", 0)
    for prefix, at, product in zip("abc", FIRST_BINDINGS, products, strict=False):
        parts.append(Part(_files(product), f"{prefix}_", at, (*_matrix(product), *low.exchange.items())))
        buffers.update(_own(f"{prefix}_", product))
    text = _gated(op, low, products) or _plain(low, products)
    buffers["residual"] = products[0].residual
    return _dispatch(op, low, parts, buffers, text, "prepare(lane);")


def _sum_of_two(both: tuple[Node, Node], low: Lowering, products: tuple[Product, Product]) -> Dispatch:
    parts, buffers = [], {"residual": products[0].residual}
    for prefix, at, op, product in zip(("a_", "b_"), FIRST_BINDINGS, both, products, strict=False):
        (own,), bound = _input(op, low, product.block, prefix, at)
        parts.append(own._replace(files=own.files + _files(product), constants=own.constants + _matrix(product)))
        buffers.update({**bound, **_own(prefix, product)})
    place = products[1].outputs[0]
    if products[0].residual is not None:
        low.keep(products[0].residual)
    before = "first + a_bias_of(row) + added(row)"
    store = f"y0[Y0_AT + row] = second + b_bias_of(row) + ({before});"
    text = Text("return a_row_product(row, lane);", "return b_row_product(row, lane);", store, (place,), place.n)
    return _dispatch(both[1], low, parts, buffers, text, "a_prepare(lane); b_prepare(lane);")


def _input(op: Node, low: Lowering, block: int, prefix: str, at: int) -> tuple[list[Part], dict[str, Any]]:
    """Return the part that rounds the input of an op, and its buffers."""
    norm = low.one_row.norm_of(op)
    x = low.place(op.inputs[0])
    constants, buffers = norm_of(norm, low, x)
    low.keep(buffers["x"])
    given = tuple({**constants, **low.exchange, "ACT_BLOCK": block}.items())
    return [Part(("norm_row", "round", "prepare"), prefix, at, given)], {f"{prefix}{k}": v for k, v in buffers.items()}


def _files(product: Product) -> tuple[str, ...]:
    return (product.matrix.form.part, "int8", "row_product")


def _matrix(product: Product) -> tuple[tuple[str, Constant], ...]:
    constants: Mapping[str, Constant] = {
        **product.matrix.form.constants, "ROW_FOURS": product.matrix.row_fours, "HAS_BIAS": product.bias is not None,
    }  # fmt: skip
    return tuple(constants.items())


def _own(prefix: str, product: Product) -> dict[str, Any]:
    """Return the buffers of a product, by name."""
    bound = {**product.matrix.parts[0].buffers, "bias": product.bias}
    return {f"{prefix}{name}": buffer for name, buffer in bound.items()}


def _gated(op: Node, low: Lowering, products: Sequence[Product]) -> Text | None:
    """Return the text for a function of two outputs of the same size, which are all that the op has."""
    if len(op.outputs) != 2 or len(products) > 1:
        return None
    gate = low.one_row.activation(op.outputs[0])
    if gate is None or len(gate.inputs) != 2:
        return None
    y = low.written_early(gate)
    places = [low.place(i) for i in gate.inputs]
    first, second = (0 if place.key == products[0].outputs[0].key else place.n for place in places)
    store = (
        f"let p = first + a_bias_of(row + {first}u); let q = second + a_bias_of(row + {second}u); "
        f"y0[Y0_AT + row] = {FORMULAS[gate.op]};"
    )
    parts = (f"return a_row_product(row + {at}u, lane);" for at in (first, second))
    return Text(*parts, store, (y,), y.n)


def _plain(low: Lowering, products: Sequence[Product]) -> Text:
    """Return the text for rows that are stored as they are, or after a function of one number."""
    starts = [0]
    for product in products:
        starts.append(starts[-1] + product.matrix.n_rows)
    first, store, outputs = [], [], []
    for prefix, product, (start, end) in zip("abc", products, pairwise(starts), strict=False):
        first.append(f"if (row < {end}u) {{ return {prefix}_row_product(row - {start}u, lane); }}")
        value = f"first + {prefix}_bias_of(row - {start}u)" + (" + added(row)" if product.residual is not None else "")
        at = start
        for place in product.outputs:
            act = low.one_row.activation(int(place.key))
            is_joined = act is not None and len(act.inputs) == 1
            j, formula = len(outputs), FORMULAS[act.op] if is_joined else "p"
            outputs.append(low.written_early(act) if is_joined else place)
            to = f"y{j}[Y{j}_AT + row - {at}u]"
            at += place.n
            store.append(f"if (row < {at}u) {{ let p = {value}; {to} = {formula}; return; }}")
    return Text("\n".join([*first, "return 0.0;"]), "return 0.0;", "\n".join(store), tuple(outputs), starts[-1])


def _dispatch(
    op: Node, low: Lowering, parts: Sequence[Part], buffers: Mapping[str, Any], text: Text, prepare: str
) -> Dispatch:
    team = team_of(op, low)
    in_subgroups = low.subgroup_size >= team
    turns = min(max(groups(text.n_out, LANES // team) // WORKGROUPS, 1), MAX_TURNS)
    declared = [
        f"@group(1) @binding({FIRST_OUTPUT + j}) var<storage, read_write> y{j}: array<f32>;"
        for j in range(len(text.outputs))
    ]
    constants: dict[str, Constant] = {
        "LANES": LANES, "TEAM": team, "TURNS": turns, "N_OUT": text.n_out, "PREPARE": prepare,
        "OUTPUTS": "\n".join(declared), "FIRST": text.first, "SECOND": text.second, "STORE": text.store,
        "HAS_SECOND": text.second != "return 0.0;", "HAS_RESIDUAL": buffers["residual"] is not None,
        "RESIDUAL_LD": 0, "RESIDUAL_AT": 0, "HAS_TEAMS_IN_SUBGROUPS": in_subgroups,
        "HAS_TEAMS_IN_MEMORY": not in_subgroups,
    }  # fmt: skip
    bound = {**buffers, **{f"y{j}": place for j, place in enumerate(text.outputs)}}
    return low.dispatch(
        "linear_one", constants, bound, x=groups(text.n_out, LANES // team * turns), m_rows=text.outputs[0].m_rows,
        parts=["reduce", "formulas", *parts],
    )  # fmt: skip
