"""Plan: a graph lowered to ops over buffer slots, symbolic in the number of tokens, without any pointer."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from math import prod

from realizar.graph import Cache, Graph, Node, State
from realizar.graph.ops import inputs_of, n_axes_of
from realizar.runtime.passes import FUSIONS, Pass, run_passes
from realizar.runtime.side_ops import SideOps


@dataclass(frozen=True)
class CacheGroup:
    """Layers with the same kind and window of KV cache, which share block tables."""

    kind: str
    window: int
    layers: tuple[Cache, ...]


@dataclass(frozen=True)
class View:
    """Memory of a value: `n` floats of each row, from element `offset` of the rows of its root value."""

    root: int
    offset: int
    n: int
    m_rows: bool


@dataclass(frozen=True)
class Slots:
    """Buffer assignment: `slot[key]` for each buffer in the arena, `width[slot]` bytes for each row."""

    slot: Mapping[Hashable, int]
    width: tuple[int, ...]


@dataclass(frozen=True)
class Plan:
    """The ops of one program for one set of outputs.

    Attributes
    ----------
    ops : tuple[Node, ...]
        In running order; inputs and outputs are value ids, weights are tensor names.
    views : dict[int, View]
        Memory of each value; reshape and split are views, not ops.
    names : dict[int, str]
        Debug names of the values.
    outputs : dict[str, int]
        Output name -> value id; it has one row for each of `Batch.outputs`.
    shapes : dict[int, tuple[int, ...]]
        Shape of a value's row.
    cache_groups : tuple[CacheGroup, ...]
    states : tuple[State, ...]
    overrides : dict[str, int]
        Name -> id of a value that is not computed: every step passes it in.
    """

    ops: tuple[Node, ...]
    views: Mapping[int, View]
    names: Mapping[int, str]
    outputs: Mapping[str, int]
    shapes: Mapping[int, tuple[int, ...]]
    cache_groups: tuple[CacheGroup, ...]
    states: tuple[State, ...]
    overrides: Mapping[str, int]

    @property
    def whole(self) -> bool:
        """Whether each step must contain whole sequences, since some attention has no KV cache, or for pooling."""
        return any(op.spec.pools or (op.spec.attends and op.attrs["cache"] is None) for op in self.ops)

    @property
    def plugin_ops(self) -> tuple[str, ...]:
        """Names of the ops of plugins; a backend without a kernel runs their numpy definition, row by row."""
        return tuple(sorted({op.op for op in self.ops if op.plugin_op is not None}))

    @property
    def inputs(self) -> tuple[str, ...]:
        """The inputs of a step that it reads: some of `graph.ops.INPUTS`."""
        return inputs_of(self.ops)

    @property
    def n_axes(self) -> int:
        """Number of position axes that its rotary embeddings read; 1 unless some have `axes`."""
        return n_axes_of(self.ops)

    def cache(self, key: str) -> tuple[int, Cache]:
        """The index of the group of the cache with this key, and the cache."""
        return next((g, c) for g, group in enumerate(self.cache_groups) for c in group.layers if c.key == key)

    def lifetimes(self) -> dict[int, tuple[int, int]]:
        """Root value -> index of the op that writes it, and of the last that reads it (outputs: after the last op)."""
        life: dict[int, tuple[int, int]] = {}
        for index, op in enumerate(self.ops):
            for i in (*op.inputs, *op.outputs):
                root = self.views[i].root
                life[root] = (life.get(root, (index, index))[0], index)
        for i in self.outputs.values():
            root = self.views[i].root
            life[root] = (life[root][0], len(self.ops))
        return life


def lower(
    graph: Graph, outputs: Iterable[str] | None = None, overrides: Iterable[str] = (),
    passes: Iterable[Pass] = FUSIONS, side: SideOps | None = None,
) -> Plan:  # fmt: skip
    """Run the passes for the requested outputs (all declared ones by default), add side ops, and assign views.

    The values named in `overrides` are not computed: every step passes them in.
    """
    g = run_passes(graph, graph.outputs if outputs is None else outputs, overrides, passes, side)
    views: dict[int, View] = {}
    ops: list[Node] = []
    for node in g.nodes:
        if node.spec.is_view:
            source = views[node.inputs[0]]
            offset = source.offset
            for i in node.outputs:
                n = prod(g.values[i].shape)
                views[i] = View(source.root, offset, n, source.m_rows)
                offset += n
            continue
        if node.spec.in_place:
            views.update(zip(node.outputs, (views[i] for i in node.inputs[-len(node.outputs) :]), strict=True))
            ops.append(node)
            continue
        m_rows = node.spec.selects_rows or any(views[i].m_rows for i in node.inputs)
        views.update({i: View(i, 0, prod(g.values[i].shape), m_rows) for i in node.outputs})
        ops.append(node)
    return Plan(
        ops=tuple(ops),
        views=views,
        names={i: g.values[i].name for i in views},
        outputs=g.outputs,
        shapes={i: g.values[i].shape for i in views},
        cache_groups=_groups(graph.caches.values()),
        states=tuple(graph.states.values()),
        overrides={g.values[i].name: i for node in g.nodes if node.spec.is_override for i in node.outputs},
    )


def assign_slots(life: Mapping[Hashable, tuple[int, int]], width: Mapping[Hashable, int]) -> Slots:
    """Assign buffers to slots so that buffers with overlapping lifetimes never share one: the narrowest free slot that
    fits, else the widest free slot, enlarged.

    Parameters
    ----------
    life : dict
        key -> (first, last) op index, both inclusive.
    width : dict
        key -> bytes for each row.
    """
    slot: dict[Hashable, int] = {}
    widths: list[int] = []
    free_at: list[int] = []
    for key in sorted(life, key=lambda key: life[key]):
        first, last = life[key]
        free = [s for s, end in enumerate(free_at) if end < first]
        fitting = [s for s in free if widths[s] >= width[key]]
        if fitting:
            chosen = min(fitting, key=lambda s: widths[s])
        elif free:
            chosen = max(free, key=lambda s: widths[s])
        else:
            chosen = len(widths)
            widths.append(0)
            free_at.append(-1)
        slot[key], free_at[chosen] = chosen, last
        widths[chosen] = max(widths[chosen], width[key])
    return Slots(slot, tuple(widths))


def _groups(caches: Iterable[Cache]) -> tuple[CacheGroup, ...]:
    by_kind: dict[tuple[str, int], list[Cache]] = {}
    for c in caches:
        by_kind.setdefault((c.kind, c.window), []).append(c)
    return tuple(CacheGroup(kind, window, tuple(layers)) for (kind, window), layers in by_kind.items())
