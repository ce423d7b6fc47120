"""The numpy interpreter of graphs: the reference for tests of compiled plans, and the numpy backend's core.

It computes consecutive rows of one sequence; products and sums in float64 (`graph.definitions`), every value rounded
once to float32. A plugin's op is evaluated by its own definition, one row at a time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from realizar.errors import GraphError
from realizar.graph.builder import Graph
from realizar.graph.plugin_ops import evaluate_by_rows
from realizar.graph.values import Node

F32 = npt.NDArray[np.float32]


class TensorLike(Protocol):
    """A tensor of a file: the name of its format, and its values."""

    @property
    def type(self) -> str: ...  # noqa: D102
    def floats(self) -> F32: ...  # noqa: D102


class KeyValues(Protocol):
    """The keys and values that one sequence has in each cache."""

    def extend(self, cache: str, k: F32, v: F32 | None) -> tuple[F32, F32]:
        """Append those of the rows of this run, and return those of all rows from the first on.

        Keys and values are [n, n_head_kv, head_dim], and need not be rounded to the type of the cache; v is None if it
        is a part of k ("latent"). Rows that no query of the run sees may be anything.
        """

    def of_layer(self, cache: str, n: int) -> tuple[F32, F32]:
        """Return those of all rows, of which the run has n; another op of the run has appended its own."""

    def of_encoder(self, cache: str) -> tuple[F32, F32]:
        """Return those of the encoder input, which another program has computed."""


class NewKeyValues:
    """The keys and values of a sequence whose first row is in this run.

    Attributes
    ----------
    cached : dict
        Cache -> K and V.
    """

    def __init__(self, cached: Mapping[str, tuple[F32, F32]] | None = None) -> None:
        self.cached: dict[str, tuple[F32, F32]] = dict(cached or {})

    def extend(self, cache: str, k: F32, v: F32 | None) -> tuple[F32, F32]:
        """Keep those of the run, and return them."""
        self.cached[cache] = (k, k if v is None else v)
        return self.cached[cache]

    def of_layer(self, cache: str, n: int) -> tuple[F32, F32]:
        """Return what the run has kept."""
        return self.cached[cache]

    def of_encoder(self, cache: str) -> tuple[F32, F32]:
        """Return what an earlier run of another program has kept."""
        return self.cached[cache]


class AdapterFactors(Protocol):
    """The adapters of a sequence."""

    def factors(self, name: str) -> Iterable[tuple[Any, F32, float]]:
        """Yield A [rank, n_in], B [n_out, rank] and the scale of each adapter that updates products with a weight.

        By the name of a place for control vectors: None, the vector as [n, 1], and the scale.
        """


@dataclass(frozen=True)
class Inputs:
    """The inputs of one run.

    Attributes
    ----------
    tokens : int32 [n]
    positions : int32 [k, n]
        For rotary and learned position embeddings; k is 1 or the number of axes of the program.
    outputs : int32 [m]
        Requested rows (`gather_rows`).
    tensors : dict
        By GGUF name.
    activations : str
        "int8" and "int16" quantize the inputs of products with quantized weights as the kernels do; "f32" does not.
    kv_type : str or pair of str
        Type of cached keys and values, as in EngineParams.
    n_ctx : int
        Context length (longrope).
    kv : KeyValues
        The cached keys and values; by default the sequence begins with this run.
    embeddings : dict of float32 [n_embd]
        Row -> the embedding that replaces that of its token.
    adapters : AdapterFactors | None
        Those of the sequence; None if it has none.
    picked : int32 [m] | None
        The rows that the inputs of the node have, where the others have been dropped; None for all.
    spans : list of (int, int)
        Ranges [first, end) of rows of this run that see each other in both directions although attention is causal.
    states : dict
        State -> its values, zeros before the first row of the sequence, updated in place; `run` adds missing ones.
    """

    tokens: npt.NDArray[np.int32]
    positions: npt.NDArray[np.int32]
    outputs: npt.NDArray[np.int32]
    tensors: Mapping[str, TensorLike]
    activations: str = "int8"
    kv_type: str | tuple[str, str] = "f16"
    n_ctx: int = 0
    kv: KeyValues = field(default_factory=NewKeyValues)
    embeddings: Mapping[int, F32] = field(default_factory=dict)
    spans: Sequence[tuple[int, int]] = ()
    states: dict[str, F32] = field(default_factory=dict)
    adapters: AdapterFactors | None = None
    picked: npt.NDArray[np.int32] | None = None


def run(graph: Graph, inputs: Inputs) -> dict[str, F32]:
    """Return every value of a graph by name, each float32 [n, *shape].

    Raises
    ------
    PluginError
        See `evaluate_by_rows`.
    """
    values: dict[int, F32] = {}
    for key, state in graph.states.items():
        inputs.states.setdefault(key, np.zeros(state.shape, np.float32))
    for node in graph.nodes:
        results = evaluate(node, [values[i] for i in node.inputs], inputs)
        values.update(zip(node.outputs, results, strict=True))
    return {graph.values[i].name: value for i, value in values.items()}


def evaluate(node: Node, x: Sequence[F32], inputs: Inputs) -> list[F32]:
    """Return the outputs of one node, each float32 [n, *shape].

    Raises
    ------
    GraphError
        If the op has no numpy definition (an overridden value).
    PluginError
        See `evaluate_by_rows`.
    """
    if node.spec.define is not None:
        weights = [inputs.tensors[name].floats() for name in node.weights]
        return evaluate_by_rows(node, x, weights, inputs.states.get(node.attrs.get("state", "")))
    if node.spec.evaluate is None:
        raise GraphError(f"op {node.op!r} has no numpy definition")
    return [np.asarray(y, dtype=np.float32) for y in node.spec.evaluate(node, x, inputs)]
