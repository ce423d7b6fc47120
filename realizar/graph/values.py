"""The parts of a graph: values, nodes, and the caches and states of layers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from realizar.graph.ops import OPS, OpSpec, Shape

if TYPE_CHECKING:
    from realizar.graph.builder import Graph


class WeightLike(Protocol):
    """A weight as the builder needs it: its names, its shape, and its bias and scale if it has them."""

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
    @property
    def expert_scales(self) -> str | None: ...  # noqa: D102
    @property
    def rotation(self) -> Rotation | None: ...  # noqa: D102


@dataclass(frozen=True)
class Rotation:
    """The basis in which a file stores a weight's rows: R x = H (signs * x) / sqrt(width), see `Graph.hadamard`.

    Attributes
    ----------
    width : int
        Elements that are transformed together, a power of two.
    signs : WeightLike | None
        Of all elements of a row, 1 or -1; None: all are 1.
    groups : tuple[int, int] | None
        (n_group, n): an input of heads, in which those of a group are n_group apart, is brought into an order in which
        they are neighbours, before it is rotated. None: it has that order.
    """

    width: int
    signs: WeightLike | None = None
    groups: tuple[int, int] | None = None


@dataclass(frozen=True)
class Cache:
    """KV cache of an attention layer: K and V of every past token (kind "full") or of a sliding window ("window"); the
    compressed K of MLA, of which V is a part, or the K of an indexer ("latent"; head_dim_v is 0); or K and V of every
    token of the encoder input ("cross"), which another program writes.
    """

    layer: int
    kind: str
    window: int
    n_head_kv: int
    head_dim_k: int
    head_dim_v: int
    name: str = "kv"

    @property
    def key(self) -> str:
        """Unique name among all caches."""
        return f"blk.{self.layer}.{self.name}"


@dataclass(frozen=True)
class State:
    """Recurrent state of a layer for each sequence: a float32 array of this shape, initially zero."""

    layer: int
    shape: Shape
    name: str = "state"

    @property
    def key(self) -> str:
        """Unique name among all states."""
        return f"blk.{self.layer}.{self.name}"


@dataclass(frozen=True)
class Value:
    """One row for each token; `shape` is that of a row, without the token dimension."""

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
    """One use of an op: value ids, tensor names (`weights`), and the attributes that its row lists.

    `plugin_op` is the row of a plugin's op; None for a built-in op.
    """

    op: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    weights: tuple[str, ...] = ()
    attrs: Mapping[str, Any] = field(default_factory=dict)
    plugin_op: OpSpec | None = None

    @property
    def spec(self) -> OpSpec:
        """The row of this op in the op set."""
        return OPS[self.op] if self.plugin_op is None else self.plugin_op
