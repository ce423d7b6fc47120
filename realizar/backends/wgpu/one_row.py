"""OneRow: which ops of a plan a step of one row computes in one dispatch with a product (shaders/linear_one.wgsl)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import TYPE_CHECKING

from realizar.backends.wgpu.rounded import RoundedInputs

if TYPE_CHECKING:
    from realizar.graph import Node
    from realizar.runtime.plan import Plan

NORMS = ("rms_norm", "layer_norm")
ACTIVATIONS = ("silu", "gelu", "gelu_erf", "sigmoid", "relu", "softplus", "swiglu", "geglu", "geglu_erf")
"""Ops that a product can apply to its results."""
BYTES_OF_GROUP = 48
"""Workgroup memory of 32 elements that are rounded to int8 (shaders/round.wgsl)."""


class OneRow:
    """The chains of a plan around its products: norm -> linear, linear -> activation, and linear + linear.

    In a step of one row, each workgroup of a product rounds the input by itself, after the norm if there is one: that
    takes less time than a dispatch. Steps of more rows compute each op by itself, with the same bits.

    Parameters
    ----------
    plan : Plan
    rounded : RoundedInputs
    n_bytes : int
        Workgroup memory for inputs.
    joins : callable
        Linear -> whether one dispatch can have all of its products.
    """

    def __init__(self, plan: Plan, rounded: RoundedInputs, n_bytes: int, joins: Callable[[Node], bool]) -> None:
        self._plan, self._rounded, self._n_bytes, self._joins = plan, rounded, n_bytes, joins
        self._readers: dict[int, list[tuple[Node, int]]] = defaultdict(list)
        self._made: dict[int, Node] = {}
        for op in plan.ops:
            self._made.update(dict.fromkeys(op.outputs, op))
            for j, i in enumerate(op.inputs):
                self._readers[plan.views[i].root].append((op, j))
        self._summed: dict[int, tuple[Node, Node]] = {}  # id of either op -> both
        for op in plan.ops:
            after = self._sum_with(op)
            if after is not None and id(op) not in self._summed:
                self._summed[id(op)] = self._summed[id(after)] = (op, after)

    def reader(self, i: int) -> tuple[Node, int] | None:
        """Return the op that alone reads a value, and which of its inputs it is; None if there are more, or parts."""
        readers, views = self._readers[self._plan.views[i].root], self._plan.views
        if len(readers) != 1 or i in self._plan.outputs.values():
            return None
        op, j = readers[0]
        return None if views[op.inputs[j]].n != views[views[i].root].n else (op, j)

    def prepares(self, op: Node) -> bool:
        """Whether a linear rounds its input by itself: then that is there as float32, or the result of a norm."""
        if op.op != "linear":
            return False
        views = self._plan.views
        view, blocks = views[op.inputs[0]], {self._rounded.block(name) for name in op.weights}
        fits = view.n // 32 * BYTES_OF_GROUP <= self._n_bytes and view.n == views[view.root].n and view.n % 32 == 0
        made = self._made.get(view.root)
        is_alone = self.reader(view.root) is not None or made is None or self._rounded.of_output(made) is None
        return fits and len(blocks) == 1 and 0 not in blocks and is_alone and self._joins(op)

    def norm_of(self, op: Node) -> Node | None:
        """Return the norm that a linear computes with its input, if any."""
        made = self._made.get(self._plan.views[op.inputs[0]].root)
        return made if made is not None and self.joins_product(made) else None

    def joins_product(self, norm: Node) -> bool:
        """Whether a norm of whole rows is computed by the linear that reads it."""
        rounding = self._rounded.of_output(norm) if norm.op in NORMS else None
        n, views = self._plan.shapes[norm.inputs[0]][-1], self._plan.views
        if rounding is None or rounding.keeps or n != views[norm.inputs[0]].n:
            return False
        found = self.reader(norm.outputs[0])
        return found is not None and self.prepares(found[0])

    def activation(self, i: int) -> Node | None:
        """Return the op that makes a function of one number, or two, of a linear's outputs, if it alone reads them."""
        found = self.reader(i)
        if found is None or found[0].op not in ACTIVATIONS:
            return None
        op, linear = found[0], self._made[i]
        views = self._plan.views
        of_linear = all(self._made.get(views[j].root) is linear and self.reader(j) is not None for j in op.inputs)
        return op if self.prepares(linear) and of_linear and len(set(op.inputs)) == len(op.inputs) else None

    def summed(self, op: Node) -> tuple[Node, Node] | None:
        """Return two linears that one dispatch computes, where the second adds the result of the first to its own."""
        return self._summed.get(id(op))

    def _sum_with(self, op: Node) -> Node | None:
        if not self.prepares(op) or len(op.weights) > 1:
            return None
        found = self.reader(op.outputs[0])
        if found is None or not self.prepares(found[0]) or found[1] != 1 or len(found[0].weights) > 1:
            return None
        views, n = self._plan.views, sum(self._plan.views[each.inputs[0]].n for each in (op, found[0]))
        same = views[op.outputs[0]].m_rows == views[found[0].outputs[0]].m_rows
        return found[0] if same and n // 32 * BYTES_OF_GROUP <= self._n_bytes else None
