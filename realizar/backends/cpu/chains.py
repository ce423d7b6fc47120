"""Chains: consecutive ops that a worker computes one after the other for a row, without waiting for other workers."""

from __future__ import annotations

from realizar.graph import Node
from realizar.graph.ops import OPS
from realizar.runtime.plan import Plan

ROW_OPS = frozenset(
    {name for name, spec in OPS.items() if spec.quantizes_output}
    | {"decay", "slice", "concat", "rope", "choose_experts", "weigh_experts"}
)
"""Ops whose kernels compute a row from the same row of their inputs, and from nothing else of the step."""


def chain_spans(plan: Plan) -> list[tuple[int, int]]:
    """Return, for each op, the indices of the first and the last op of its chain.

    A worker may be several ops ahead of another in a chain. So all values of a chain, those that it reads and those
    that it writes, are alive from its first op to its last one.
    """
    first: list[int] = []
    for index, op in enumerate(plan.ops):
        joins = index > 0 and _joins(plan, plan.ops[index - 1], op)
        first.append(first[-1] if joins else index)
    last = {start: index for index, start in enumerate(first)}
    return [(start, last[start]) for start in first]


def _joins(plan: Plan, before: Node, op: Node) -> bool:
    """Whether two consecutive ops belong to one chain: both have the same rows."""
    if before.op not in ROW_OPS or op.op not in ROW_OPS:
        return False
    return plan.views[before.outputs[0]].m_rows == plan.views[op.outputs[0]].m_rows
