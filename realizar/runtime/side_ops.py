"""SideOps: what adapters change in a graph, added after its fusions: updates of products, and control vectors."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from realizar.graph import Graph, Node

EMBEDDING = "token_embd.weight"
"""The table of embeddings: adapters change the rows that tokens take, not products with it as the output matrix."""


@dataclass(frozen=True)
class SideOps:
    """The places of a graph where some loaded adapter has factors.

    Attributes
    ----------
    targets : frozenset of str
        Weights whose products, or rows, are updated.
    max_rank : int
        Sum of the ranks that the adapters of one sequence have for one weight, at most.
    places : frozenset of (str, str)
        Name of a value, and of the place that control vectors are added to it under.
    """

    targets: frozenset[str]
    max_rank: int
    places: frozenset[tuple[str, str]] = frozenset()


def add_side_ops(graph: Graph, side: SideOps) -> None:
    """Add the ops of adapters after the ops whose results they change. Modifies the graph.

    The changed value keeps its id and name, so that everything that reads it, outputs included, reads the changed one.
    """
    places = dict(side.places)
    products = side.targets - {EMBEDDING}  # the output matrix stays as it is where the embedding is used as such
    by_id = {value.id: places[value.name] for value in graph.values if value.name in places}
    nodes: list[Node] = []
    for node in graph.nodes:
        if node.op == "experts" and side.targets.intersection(node.weights):
            targets = tuple(name if name in side.targets else None for name in node.weights)
            node = replace(node, attrs={**node.attrs, "targets": targets, "max_rank": side.max_rank})
        updated = () if node.op != "linear" else tuple(i for i, w in _results(node) if w in products)
        if node.op == "embed" and EMBEDDING in side.targets.intersection(node.weights):
            updated = node.outputs
        steered = tuple(i for i in node.outputs if i in by_id)
        before = {i: _copy(graph, i) for i in {*updated, *steered}}
        nodes.append(replace(node, outputs=tuple(before.get(i, i) for i in node.outputs)))
        if updated:
            # a value that is steered, too, gets another one between both
            middle = {i: _copy(graph, i) if i in steered else i for i in updated}
            add = _low_rank_embed if node.op == "embed" else _low_rank
            nodes.append(add(node, updated, before, middle, side.max_rank))
            before.update({i: middle[i] for i in steered if i in middle})
        nodes += [_control_vector(before[i], i, by_id[i]) for i in steered]
    graph.nodes = nodes


def _results(node: Node) -> Iterable[tuple[int, str]]:
    """The results of a product with the names of their weights."""
    return zip(node.outputs, node.weights, strict=True)


def _copy(graph: Graph, i: int) -> int:
    """Return the id of a new value of the same shape."""
    value = graph.values[i]
    return graph.value(f"{value.name}.base", value.shape).id


def _low_rank(node: Node, updated: tuple[int, ...], before: dict[int, int], after: dict[int, int], rank: int) -> Node:
    targets = tuple(w for i, w in _results(node) if i in updated)
    inputs = (node.inputs[0], *(before[i] for i in updated))
    return replace(
        node, op="low_rank", inputs=inputs, outputs=tuple(after[i] for i in updated), weights=(),
        attrs={"targets": targets, "max_rank": rank},
    )  # fmt: skip


def _low_rank_embed(
    node: Node, updated: tuple[int, ...], before: dict[int, int], after: dict[int, int], rank: int
) -> Node:
    (i,) = updated
    attrs = {"target": node.weights[0], "max_rank": rank, "scale": node.attrs["scale"], "by": node.attrs["by"]}
    return replace(node, op="low_rank_embed", inputs=(before[i],), outputs=(after[i],), weights=(), attrs=attrs)


def _control_vector(before: int, after: int, place: str) -> Node:
    return Node("control_vector", (before,), (after,), (), {"place": place})
