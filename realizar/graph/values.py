"""What a graph is made of: values, the nodes that make them, and what layers remember."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from realizar.graph.ops import OPS, OpSpec, Shape

if TYPE_CHECKING:
    from realizar.graph.builder import Graph


class WeightLike(Protocol):
    """What the builder needs to know of a weight: its names, its shape, and whether a bias or a scale goes with it."""

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def tensor(self) -> str: ...  # noqa: D102
    @property
    def shape(self) -> Shape: ...  # noqa: D102
    @property
    def bias(self) -> str | None: ...  # noqa: D102
    @property
    def scale(self) -> float | None: ...  # noqa: D102


@dataclass(frozen=True)
class Cache:
    """What an attention layer remembers: K and V of every past token (kind "full"), of a window of them ("window"),
    K alone, of which V is a part ("latent"; head_dim_v is then 0), or K and V of every token of the text that the
    sequence answers to ("cross"), which another program puts there.
    """

    layer: int
    kind: str
    window: int
    n_head_kv: int
    head_dim_k: int
    head_dim_v: int

    @property
    def key(self) -> str:
        """Its name among the caches of all layers."""
        return f"blk.{self.layer}.{'cross' if self.kind == 'cross' else 'kv'}"


@dataclass(frozen=True)
class State:
    """What a recurrent layer remembers of a sequence: one float32 array of this shape, zeros at its start."""

    layer: int
    shape: Shape
    name: str = "state"

    @property
    def key(self) -> str:
        """Its name among the states of all layers."""
        return f"blk.{self.layer}.{self.name}"


@dataclass(frozen=True)
class Value:
    """One row per token of numbers: `shape` leaves the token dimension out."""

    id: int
    name: str
    shape: Shape
    graph: Graph = field(repr=False, compare=False)

    def __add__(self, other: Value) -> Value:
        return self.graph.add(self, other)

    def __mul__(self, other: Value | float) -> Value:
        return self.graph.mul(self, other) if isinstance(other, Value) else self.graph.scale(self, other)

    __rmul__ = __mul__


@dataclass(frozen=True)
class Node:
    """One op over value ids; `weights` are tensor names, `attrs` as `graph.ops` lists them.

    `plugin_op` is the row of an op that a plugin brings; None for a built-in one.
    """

    op: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    weights: tuple[str, ...] = ()
    attrs: Mapping[str, Any] = field(default_factory=dict)
    plugin_op: OpSpec | None = None

    @property
    def spec(self) -> OpSpec:
        """The row of the op set that this node is an instance of."""
        return OPS[self.op] if self.plugin_op is None else self.plugin_op
