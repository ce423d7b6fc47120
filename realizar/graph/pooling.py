"""The builder methods of heads over whole texts, which `Graph` inherits: pooling, tanh and softmax."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from realizar.graph.values import Value


class Recorder(Protocol):
    """What these methods need of a graph."""

    def emit(self, op: str, inputs: Sequence[Value], names: Sequence[str], **attrs: Any) -> list[Value]:
        """Append a node, as `Graph.emit`."""
        ...


class PoolingOps:
    """Pooling, tanh and softmax."""

    def pool_first(self: Recorder, x: Value) -> Value:
        """The first row of x of the text: one row for each output of the step, with the shape of x.

        Only ops that treat each row alike can follow. Each step must contain whole sequences.
        """
        return self.emit("pool_first", [x], ["pool_first"])[0]

    def pool_mean(self: Recorder, x: Value) -> Value:
        """The mean of the rows of x of the text, summed in float64; else as `pool_first`."""
        return self.emit("pool_mean", [x], ["pool_mean"])[0]

    def tanh(self: Recorder, x: Value) -> Value:
        """tanh(x), as a soft cap of 1."""
        return self.emit("softcap", [x], ["tanh"], cap=1.0)[0]

    def softmax(self: Recorder, x: Value) -> Value:
        """exp(x) / sum(exp(x)) over the last dimension."""
        return self.emit("softmax", [x], ["softmax"])[0]
