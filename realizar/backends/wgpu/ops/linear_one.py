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
LANES_OF_READER = 64
"""Invocations of a workgroup that reads a rounded input."""


class Product(NamedTuple):
    """Weights of one format and the same input: one matrix, whose rows belong to several values.

    Attributes
    ----------
    matrix : Matrix
    block : int
        Elements of the input that share a scale when they are rounded to int8; 0: they are not.
    outputs : list of int
        Ids of the values.
    places : list of Place
        Their memory.
    bias : wgpu buffer | None
    residual : Place | None
    """

    matrix: Matrix
    block: int
    outputs: list[int]
    places: list[Place]
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
    """Return the invocations that share a row of a weight."""
    return TEAMS[low.place(op.inputs[0]).n > 4096]


def in_one(op: Node, low: Lowering, products: Sequence[Product], act: Place) -> Dispatch | None:
    """Return a dispatch with all products of a linear for one row, and with what is around them; None if there is none.

    Parameters
    ----------
    op : Node
    low : Lowering
    products : sequence of Product
    act : Place
        The rounded input, which is read unless `low.one_row.prepares` the op.
    """
    prepares = low.one_row.prepares(op)
    if not low.joins(op) or len({product.block for product in products}) > 1:
        return None
    parts: list[str | Part] = ["stored_act"]
    buffers: dict[str, Any] = {"act": act}
    if prepares:
        parts, buffers = _input(op, low, products[0].block)
    for prefix, at, product in zip("abc", FIRST_BINDINGS, products, strict=False):
        parts.append(Part((product.matrix.form.part, "int8", "row_product"), f"{prefix}_", at, _matrix(product)))
        bound = {**product.matrix.parts[0].buffers, "bias": product.bias}
        buffers.update({f"{prefix}_{name}": buffer for name, buffer in bound.items()})
    text = _gated(op, low, products) or _plain(low, products)
    buffers["residual"] = products[0].residual
    return _dispatch(op, low, parts, buffers, text, prepares)


def _input(op: Node, low: Lowering, block: int) -> tuple[list[str | Part], dict[str, Any]]:
    """Return the parts that round the input of an op, and their buffers."""
    constants, buffers = norm_of(low.one_row.norm_of(op), low, low.place(op.inputs[0]))
    low.keep(buffers["x"])
    given = tuple({**constants, **low.exchange, "ACT_BLOCK": block}.items())
    return ["reduce", Part(("norm_row", "norm_eight", "round", "prepare"), "", 0, given)], buffers


def _matrix(product: Product) -> tuple[tuple[str, Constant], ...]:
    constants: Mapping[str, Constant] = {
        **product.matrix.form.constants, "ROW_FOURS": product.matrix.row_fours, "HAS_BIAS": product.bias is not None,
    }  # fmt: skip
    return tuple(constants.items())


def _gated(op: Node, low: Lowering, products: Sequence[Product]) -> Text | None:
    """Return the text for a function of two outputs of the same size, which are all that the op has."""
    if len(op.outputs) != 2 or len(products) > 1:
        return None
    gate = low.one_row.activation(op.outputs[0])
    if gate is None or len(gate.inputs) != 2:
        return None
    y = low.written_early(gate)
    places = [low.place(i) for i in gate.inputs]
    first, second = (0 if place.key == products[0].places[0].key else place.n for place in places)
    store = (
        f"let p = first + a_bias_of(row + {first}u); let q = second + a_bias_of(row + {second}u); "
        f"y0[Y0_AT + row] = {FORMULAS[gate.op]};"
    )
    first_part, second_part = (f"return a_row_product(row + {at}u, lane);" for at in (first, second))
    return Text(first_part, second_part, store, (y,), y.n)


def _plain(low: Lowering, products: Sequence[Product]) -> Text:
    """Return the text for rows that are stored as they are, or after a function of one number."""
    starts = [0]
    for product in products:
        starts.append(starts[-1] + product.matrix.n_rows)
    first, store = [], []
    outputs: list[Place] = []
    for prefix, product, (start, end) in zip("abc", products, pairwise(starts), strict=False):
        first.append(f"if (row < {end}u) {{ return {prefix}_row_product(row - {start}u, lane); }}")
        value = f"first + {prefix}_bias_of(row - {start}u)" + (" + added(row)" if product.residual is not None else "")
        at = start
        for i, place in zip(product.outputs, product.places, strict=True):
            act, j, formula = low.one_row.activation(i), len(outputs), "p"
            if act is not None and len(act.inputs) == 1:
                formula, place = FORMULAS[act.op], low.written_early(act)
            outputs.append(place)
            to = f"y{j}[Y{j}_AT + row - {at}u]"
            at += place.n
            store.append(f"if (row < {at}u) {{ let p = {value}; {to} = {formula}; return; }}")
    return Text("\n".join([*first, "return 0.0;"]), "return 0.0;", "\n".join(store), tuple(outputs), starts[-1])


def _dispatch(
    op: Node, low: Lowering, parts: Sequence[str | Part], buffers: Mapping[str, Any], text: Text, prepares: bool
) -> Dispatch:  # fmt: skip
    team, lanes = team_of(op, low), LANES if prepares else LANES_OF_READER
    turns = min(max(groups(text.n_out, lanes // team) // WORKGROUPS, 1), MAX_TURNS) if prepares else 1
    in_subgroups = low.subgroup_size >= team
    declared = [
        f"@group(1) @binding({FIRST_OUTPUT + j}) var<storage, read_write> y{j}: array<f32>;"
        for j in range(len(text.outputs))
    ]
    constants: dict[str, Constant] = {
        "LANES": lanes, "TEAM": team, "TURNS": turns, "N_OUT": text.n_out, "PREPARES": prepares,
        "OUTPUTS": "\n".join(declared), "FIRST": text.first, "SECOND": text.second, "STORE": text.store,
        "HAS_SECOND": text.second != "return 0.0;", "HAS_RESIDUAL": buffers["residual"] is not None,
        "RESIDUAL_LD": 0, "RESIDUAL_AT": 0, "HAS_TEAMS_IN_SUBGROUPS": in_subgroups,
        "HAS_TEAMS_IN_MEMORY": not in_subgroups,
    }  # fmt: skip
    bound = {**buffers, **{f"y{j}": place for j, place in enumerate(text.outputs)}}
    return low.dispatch(
        "linear_one", constants, bound, x=groups(text.n_out, lanes // team * turns), m_rows=text.outputs[0].m_rows,
        parts=["formulas", *parts],
    )  # fmt: skip
