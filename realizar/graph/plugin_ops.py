"""Ops of plugins: validation of their rows, their shapes, and their results row by row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from realizar.errors import GraphError, PluginError, describe_exception, short_repr
from realizar.graph.ops import OPS, OpSpec
from realizar.graph.shapes import Shape

if TYPE_CHECKING:
    from realizar.graph.values import Node

F32 = npt.NDArray[np.float32]

STATED = ("name", "formula", "attrs", "shape", "inputs", "rowwise", "uses", "define")
"""The fields that a plugin sets; the others describe built-in ops."""
RESERVED = ("state", "cache", "bias", "rope", "by")
"""Names of attributes that have a meaning for backends and estimates; reserved for built-in ops."""


def check_spec(spec: object) -> OpSpec:
    """Return a plugin's row of the op set if it is valid.

    Raises
    ------
    PluginError
        If it is not an OpSpec, has the name of a built-in op, lacks a shape rule or a numpy definition, has an
        attribute with a reserved name, or sets a field that only built-in ops have.
    """
    if not isinstance(spec, OpSpec):
        raise PluginError(f"realizar_ops must return realizar.graph.OpSpec objects, found {short_repr(spec)}")
    op = f"op {short_repr(spec.name)}"
    if not isinstance(spec.name, str) or not spec.name.isidentifier():
        raise PluginError(f"{op}: its name must be a Python identifier")
    if spec.name in OPS:
        raise PluginError(f"{op} is built in; give the op of the plugin another name")
    if not callable(spec.shape) or not callable(spec.define) or not callable(spec.uses):
        raise PluginError(f"{op}: `shape`, `uses` and `define`, its numpy definition, must be functions")
    for what, names in (("attrs", spec.attrs), ("inputs", spec.inputs)):
        if not isinstance(names, tuple) or not all(isinstance(name, str) for name in names):
            raise PluginError(f"{op}: `{what}` must be a tuple of names, found {short_repr(names)}")
    if taken := sorted(set(spec.attrs).intersection(RESERVED)):
        raise PluginError(f"{op}: attributes cannot be called {', '.join(taken)}; built-in ops use these names")
    for fact in fields(OpSpec):
        if fact.name not in STATED and getattr(spec, fact.name) != fact.default:
            raise PluginError(f"{op} sets `{fact.name}`, which only built-in ops have; it may set {', '.join(STATED)}")
    return spec


def check_node(spec: OpSpec, n_inputs: int, has_state: bool, attrs: Mapping[str, Any]) -> None:
    """Check a node before it is recorded.

    Raises
    ------
    GraphError
        If the number of inputs is wrong, the attributes are not those of the row, or an op with a state is declared as
        rowwise.
    """
    least = sum(not name.endswith("?") for name in spec.inputs)
    if not least <= n_inputs <= len(spec.inputs):
        raise GraphError(f"op {spec.name!r}: {n_inputs} inputs; it takes {', '.join(spec.inputs) or 'none'}")
    if set(attrs) != set(spec.attrs):
        found = ", ".join(sorted(attrs)) or "none"
        raise GraphError(f"op {spec.name!r}: attributes {found}; it has {', '.join(spec.attrs) or 'none'}")
    if has_state and spec.rowwise:
        raise GraphError(f"op {spec.name!r} has a state, so a row depends on those before it; declare it rowwise=False")


def output_shapes(spec: OpSpec, inputs: list[Shape], weights: list[Shape], attrs: Mapping[str, Any]) -> list[Shape]:
    """Return the shapes of the outputs by the rule of a plugin's op.

    Raises
    ------
    GraphError
        If the shapes do not match, the rule fails, or its result is not a list of shapes.
    """
    try:
        found = spec.shape(inputs, weights, attrs)
    except GraphError:
        raise
    except Exception as error:
        raise GraphError(
            f"op {spec.name!r}: its shape rule failed for inputs {inputs} and weights {weights}: "
            f"{describe_exception(error)}"
        ) from error
    if not isinstance(found, (list, tuple)) or not all(map(_is_shape, found)):
        raise GraphError(f"op {spec.name!r}: its shape rule must return a list of shapes, found {short_repr(found)}")
    return list(found)


def _is_shape(shape: object) -> bool:
    return isinstance(shape, tuple) and len(shape) > 0 and all(isinstance(n, int) and n > 0 for n in shape)


def evaluate_by_rows(node: Node, x: Sequence[F32], weights: Sequence[F32], state: F32 | None = None) -> list[F32]:
    """Return the outputs of a plugin's op for consecutive rows of one sequence, by its numpy definition.

    Each row is computed by itself, in order, so that the result does not depend on how rows are grouped into calls.

    Parameters
    ----------
    node : Node
    x : sequence of float32 [n, *shape]
        The inputs.
    weights : sequence of float32 arrays
        The weights of the node, in its order.
    state : float32 array | None
        The state after the previous rows, zeros before position 0; updated in place.

    Raises
    ------
    PluginError
        If the definition fails, or its result differs from the op's shape rule.
    """
    spec, attrs = node.spec, {name: value for name, value in node.attrs.items() if name != "state"}
    shapes = output_shapes(spec, [a.shape[1:] for a in x], [w.shape for w in weights], attrs)
    out = [np.empty((len(x[0]), *shape), np.float32) for shape in shapes]
    for t in range(len(x[0])):
        rows = _define(node, [a[t : t + 1].copy() for a in x], list(weights), attrs, state)
        found = [row.shape for row in rows]
        if found != [(1, *shape) for shape in shapes]:
            wanted = [(1, *shape) for shape in shapes]
            raise PluginError(f"op {node.op!r}: its definition returned shapes {found}, its shape rule {wanted}")
        for y, row in zip(out, rows, strict=True):
            y[t] = row[0]
    return out


def _define(node: Node, x: list[F32], weights: list[F32], attrs: dict[str, Any], state: F32 | None) -> list[F32]:
    """Compute one row, as arrays of float32."""
    if node.spec.define is None:
        raise GraphError(f"op {node.op!r} is built in and is not defined row by row")
    try:
        return [np.asarray(row, np.float32) for row in node.spec.define(x, weights, attrs, state)]
    except Exception as error:
        raise PluginError(f"op {node.op!r}: its numpy definition failed: {describe_exception(error)}") from error
