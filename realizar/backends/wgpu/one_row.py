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
MAX_ELEMENTS, MAX_ROWS = 4096, 16384
"""A product prepares inputs of at most so many elements, for weights of at most so many rows: else the workgroups would
spend more time on that than a dispatch takes."""


class OneRow:
    """The chains of a plan around its products: norm -> linear -> activation.

    In a step of one row, each workgroup of a product rounds the input by itself, after the norm if there is one: that
    takes less time than a dispatch. Steps of more rows compute each op by itself, with the same bits.

    Parameters
    ----------
    plan : Plan
    rounded : RoundedInputs
    joins : callable
        Linear -> whether one dispatch can have all of its products.
    """

    def __init__(self, plan: Plan, rounded: RoundedInputs, joins: Callable[[Node], bool]) -> None:
        self._plan, self._rounded, self._joins = plan, rounded, joins
        self._readers: dict[int, list[tuple[Node, int]]] = defaultdict(list)
        self._made: dict[int, Node] = {}
        for op in plan.ops:
            self._made.update(dict.fromkeys(op.outputs, op))
            for j, i in enumerate(op.inputs):
                self._readers[plan.views[i].root].append((op, j))

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
        fits = view.n <= MAX_ELEMENTS and view.n == views[view.root].n and view.n % 32 == 0
        n_rows = sum(views[i].n for i in op.outputs)
        made = self._made.get(view.root)
        is_alone = self.reader(view.root) is not None or made is None or self._rounded.of_output(made) is None
        return fits and n_rows <= MAX_ROWS and len(blocks) == 1 and 0 not in blocks and is_alone and self._joins(op)

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
        is_read = (after := self.reader(op.outputs[0])) is not None and self.prepares(after[0])
        is_free = is_read or self._rounded.of_output(op) is None
        return op if self.prepares(linear) and of_linear and is_free and len(set(op.inputs)) == len(op.inputs) else None
