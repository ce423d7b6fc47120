"""Passes: rewrites of a graph before it is lowered (op fusion, removal of unused nodes and rows)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace

from realizar.errors import GraphError
from realizar.graph import Graph, Node
from realizar.runtime.side_ops import SideOps, add_side_ops

Pass = Callable[[list[Node], set[int]], list[Node]]
"""(nodes, ids of the values that are outputs) -> nodes that compute the same outputs; a backend chooses its passes."""


def run_passes(
    graph: Graph, outputs: Iterable[str], overrides: Iterable[str], passes: Iterable[Pass],
    side: SideOps | None = None,
) -> Graph:  # fmt: skip
    """Return a graph that computes the named outputs and nothing else, rewritten by the passes.

    Parameters
    ----------
    graph : Graph
        As recorded; not modified.
    outputs : iterable of str
        Names of outputs or of intermediate values; values that none of them depends on are dropped.
    overrides : iterable of str
        Names of values that are not computed: the caller of a step passes them in.
    passes : iterable of Pass
        Applied in this order.
    side : SideOps, optional
        What adapters change, after the passes.

    Returns
    -------
    Graph
        Its `outputs` have the rows of `Batch.outputs` only.

    Raises
    ------
    GraphError
        If there is no value of one of the names.
    """
    out = Graph()
    out.values, out.caches, out.states = list(graph.values), graph.caches, graph.states
    known = {**{value.name: value.id for value in graph.values}, **graph.outputs}
    outputs, overrides = tuple(outputs), tuple(overrides)
    for name in (*outputs, *overrides):
        if name not in known:
            raise GraphError(f"{name!r} is not a value of the graph; it has {', '.join(known)}")
    out.outputs = {name: known[name] for name in outputs}
    out.nodes = drop_unused(override(graph.nodes, {known[name] for name in overrides}), set(out.outputs.values()))
    kept = set(out.outputs.values())
    for rewrite in passes:
        out.nodes = rewrite(out.nodes, kept)
    if side is not None:
        add_side_ops(out, side)
    prune_rows(out)
    return out


def uses(nodes: Iterable[Node], kept: set[int]) -> Counter[int]:
    """How often each value is read; being an output counts as one more read."""
    return Counter([i for node in nodes for i in node.inputs]) + Counter(kept)


def producers(nodes: Iterable[Node]) -> dict[int, Node]:
    """Value id -> the node that computes it."""
    return {i: node for node in nodes for i in node.outputs}


def override(nodes: list[Node], values: set[int]) -> list[Node]:
    """Replace the nodes that compute these values by "override" nodes.

    These come first, and so do those that the graph has for its own inputs: the caller writes them before a step, so
    no other value may be in their memory.

    Raises
    ------
    GraphError
        If one of them stores keys and values that another layer attends to.
    """
    left = [node for node in nodes if not values.intersection(node.outputs)]
    stored = {node.attrs.get("cache") for node in left if node.spec.writes_cache and not attends_only(node)}
    for node in left:
        if node.op == "attention" and node.attrs["cache"] is not None and node.attrs["cache"] not in stored:
            raise GraphError(f"overrides: the attention that stores {node.attrs['cache']}, which another layer reads")
    inputs = [node for node in left if node.spec.is_override]
    made = [Node("override", (), (i,)) for i in sorted(values)]
    return [*made, *inputs, *(node for node in left if not node.spec.is_override)]


def attends_only(node: Node) -> bool:
    """Whether a node attends to keys and values that another node stores."""
    return node.spec.attends and len(node.inputs) == 1


def drop_unused(nodes: list[Node], kept: set[int]) -> list[Node]:
    """Drop nodes on which no kept value depends.

    A node without outputs writes a cache that another program reads, so it stays; so does one whose cache a later node
    reads without writing it.
    """
    needed, read, out = set(kept), set(), []
    for node in reversed(nodes):
        if needed.intersection(node.outputs) or not node.outputs or node.attrs.get("cache") in read:
            needed.update(node.inputs)
            if attends_only(node):
                read.add(node.attrs["cache"])
            out.append(node)
    return out[::-1]


def fuse_rope(nodes: list[Node], kept: set[int]) -> list[Node]:
    """attention(rope(q), rope(k), v) -> one attention that rotates while it stores K, if both rotations are equal."""
    count, made = uses(nodes, kept), producers(nodes)
    gone: set[int] = set()
    out: list[Node] = []
    for node in nodes:
        if node.op == "attention" and not attends_only(node):
            q, k = made.get(node.inputs[0]), made.get(node.inputs[1])
            if (
                q is not None and k is not None and q.op == k.op == "rope"
                and count[node.inputs[0]] == count[node.inputs[1]] == 1
                and q.attrs == k.attrs and q.weights == k.weights
            ):  # fmt: skip
                gone.update((*q.outputs, *k.outputs))
                node = replace(
                    node, inputs=(q.inputs[0], k.inputs[0], node.inputs[2]),
                    attrs={**node.attrs, "rope": {**q.attrs, "factors": q.weights}},
                )  # fmt: skip
        out.append(node)
    return [node for node in out if not gone.intersection(node.outputs)]


_GATED = {"silu": "swiglu", "gelu": "geglu", "gelu_erf": "geglu_erf"}


def fuse_gated(nodes: list[Node], kept: set[int]) -> list[Node]:
    """silu(gate) * up -> swiglu(gate, up), and likewise for the other activations."""
    count, made = uses(nodes, kept), producers(nodes)
    gone: set[int] = set()
    out: list[Node] = []
    for node in nodes:
        if node.op == "mul":
            for gate, up in (node.inputs, node.inputs[::-1]):
                act = made.get(gate)
                if act is not None and act.op in _GATED and count[gate] == 1:
                    gone.add(gate)
                    node = Node(_GATED[act.op], (act.inputs[0], up), node.outputs)
                    break
        out.append(node)
    return [node for node in out if not gone.intersection(node.outputs)]


def fuse_linears(nodes: list[Node], kept: set[int]) -> list[Node]:
    """Linears of the same input -> one linear with several weights, in place of the first (q, k, v; gate, up)."""
    groups: dict[tuple[int, ...], list[Node]] = {}
    for node in nodes:
        if node.op == "linear":
            groups.setdefault(node.inputs, []).append(node)
    out: list[Node] = []
    for node in nodes:
        if node.op != "linear":
            out.append(node)
        elif groups[node.inputs][0] is node:
            same = groups[node.inputs]
            outputs = tuple(i for n in same for i in n.outputs)
            weights = tuple(name for n in same for name in n.weights)
            bias = tuple(b for n in same for b in n.attrs["bias"])
            out.append(Node("linear", node.inputs, outputs, weights, {"bias": bias, "residual": False}))
    return out


def fuse_residual(nodes: list[Node], kept: set[int]) -> list[Node]:
    """x + linear(h) -> a linear that adds x while its result is in cache, if x is computed before the linear."""
    count, made = uses(nodes, kept), producers(nodes)
    place = {id(node): index for index, node in enumerate(nodes)}
    replaced: dict[int, Node] = {}
    gone: set[int] = set()
    for node in nodes:
        if node.op != "add":
            continue
        for x, y in (node.inputs, node.inputs[::-1]):
            linear = made.get(y)
            if linear is None or linear.op != "linear" or len(linear.outputs) > 1 or count[y] != 1:
                continue
            before = made.get(x)
            if id(linear) in replaced or (before is not None and place[id(before)] > place[id(linear)]):
                continue
            replaced[id(linear)] = replace(
                linear, inputs=(*linear.inputs, x), outputs=node.outputs, attrs={**linear.attrs, "residual": True}
            )
            gone.add(id(node))
            break
    return [replaced.get(id(node), node) for node in nodes if id(node) not in gone]


def fuse_conv(nodes: list[Node], kept: set[int]) -> list[Node]:
    """silu(causal_conv1d(x)) -> a convolution that applies silu while its result is in cache."""
    count, made = uses(nodes, kept), producers(nodes)
    fused: dict[int, Node] = {}
    gone: set[int] = set()
    for node in nodes:
        conv = made.get(node.inputs[0]) if node.op == "silu" else None
        if conv is not None and conv.op == "causal_conv1d" and count[node.inputs[0]] == 1:
            fused[id(conv)] = replace(conv, outputs=node.outputs, attrs={**conv.attrs, "activation": "silu"})
            gone.add(id(node))
    return [fused.get(id(node), node) for node in nodes if id(node) not in gone]


FUSIONS: tuple[Pass, ...] = (fuse_rope, fuse_gated, fuse_conv, fuse_linears, fuse_residual)
"""All fusions."""


def prune_rows(graph: Graph) -> None:
    """Compute only the rows of outputs after the last op that mixes tokens: gather them there. Modifies the graph.

    Attention that stores no keys and values of its own does not mix tokens: a query row reads the cache, whatever the
    other rows are. So layers that attend to the keys and values of an earlier one run for the rows of outputs only.

    Raises
    ------
    GraphError
        If an op that mixes tokens reads what was pooled.
    """
    check_pooled(graph.nodes)
    readers: dict[int, list[Node]] = {}
    for node in graph.nodes:
        for i in node.inputs:
            readers.setdefault(i, []).append(node)
    pruned: set[int] = set()  # node ids
    for node in reversed(graph.nodes):
        wanted = all(id(reader) in pruned for i in node.outputs for reader in readers.get(i, []))
        if (node.spec.rowwise or attends_only(node)) and wanted:
            pruned.add(id(node))
    taken: dict[int, int] = {}
    nodes: list[Node] = []
    inside = {i for node in graph.nodes if id(node) in pruned or node.spec.selects_rows for i in node.outputs}

    def take(i: int) -> int:
        if i not in taken:
            value = graph.value(f"{graph.values[i].name}.rows", graph.values[i].shape)
            nodes.append(Node("gather_rows", (i,), (value.id,)))
            taken[i] = value.id
        return taken[i]

    for node in graph.nodes:
        if id(node) in pruned:
            node = replace(node, inputs=tuple(i if i in inside else take(i) for i in node.inputs))
        nodes.append(node)
    graph.outputs = {name: i if i in inside else take(i) for name, i in graph.outputs.items()}
    graph.nodes = nodes


def check_pooled(nodes: Iterable[Node]) -> None:
    """Raise a GraphError if an op that mixes tokens, or reads positions, depends on what was pooled."""
    pooled: set[int] = set()
    for node in nodes:
        is_of_pooled = not pooled.isdisjoint(node.inputs)
        if is_of_pooled and (not node.spec.rowwise or node.spec.reads(node.attrs)):
            raise GraphError(f"{node.op}: reads a pooled value, which is one row for a text, but works on tokens")
        if is_of_pooled or node.spec.pools:
            pooled.update(node.outputs)
