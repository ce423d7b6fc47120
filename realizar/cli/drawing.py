"""Graphs and plans as text, and as a picture if graphviz is installed."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from realizar.graph import RopeScaling

if TYPE_CHECKING:
    from realizar.graph import Node
    from realizar.model import Model


def lines(model: Model, program: str) -> Iterator[str]:
    """Yield the recorded graph of a program and its plan after the passes, one line per node."""
    graph, plan = model.graphs[program], model.plan(program)
    names = {value.id: value.name for value in graph.values}
    shapes = {value.id: value.shape for value in graph.values}
    yield f"graph {program}: {len(graph.nodes)} nodes"
    yield from (f"  {_line(node, names, shapes)}" for node in graph.nodes)
    yield f"plan {program}: {len(plan.ops)} ops"
    yield from (f"  {_line(op, plan.names, plan.shapes)}" for op in plan.ops)
    for g, group in enumerate(plan.cache_groups):
        layers = ", ".join(str(at.layer) for at in group.layers)
        yield f"cache group {g}: {group.kind}{f' of {group.window}' if group.window else ''}, layers {layers}"
    for state in plan.states:
        yield f"state {state.key}: {state.shape}"


def draw(model: Model, program: str, stem: str) -> Path | None:
    """Draw the plan to STEM-PROGRAM.svg in the current folder; returns None if `dot` is not installed."""
    if shutil.which("dot") is None:
        return None
    path = Path(f"{stem}-{program}.svg").resolve()
    subprocess.run(["dot", "-Tsvg", "-o", str(path)], input=dot(model, program), text=True, check=True)
    return path


def dot(model: Model, program: str) -> str:
    """Return the plan in graphviz' dot language: a box per op, an arrow per value."""
    plan = model.plan(program)
    producer = {plan.views[i].root: n for n, op in enumerate(plan.ops) for i in op.outputs}
    out = ["digraph plan {", "node [shape=box, fontname=monospace, fontsize=10];"]
    for n, op in enumerate(plan.ops):
        label = "\\n".join([op.op, *(name.removesuffix(".weight") for name in op.weights)])
        out.append(f'n{n} [label="{label}"];')
        out += [f"n{producer[plan.views[i].root]} -> n{n};" for i in op.inputs if plan.views[i].root in producer]
    return "\n".join([*out, "}"])


def _line(node: Node, names: Mapping[int, str], shapes: Mapping[int, Any]) -> str:
    outputs = ", ".join(f"{names[i]} {shapes[i]}" for i in node.outputs)
    inputs = [*(names[i] for i in node.inputs), *node.weights]
    attrs = [f"{key}={_attr(value)}" for key, value in node.attrs.items() if _is_set(value)]
    return f"{outputs} = {node.op}({', '.join([*inputs, *attrs])})"


def _is_set(value: Any) -> bool:
    if isinstance(value, tuple):
        return any(item is not None for item in value)
    if isinstance(value, RopeScaling):
        return value.kind != "none"
    return value not in (None, False, 0, 0.0)


def _attr(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{k}={_attr(v)}" for k, v in value.items() if _is_set(v)) + "}"
    return f"{value:g}" if isinstance(value, float) else str(value)
