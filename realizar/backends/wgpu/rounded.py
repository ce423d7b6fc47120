"""RoundedInputs: which values products read as int8, and whether anything reads them as float32."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from realizar.backends.wgpu.forms import UNPACK
from realizar.quants import FORMATS

if TYPE_CHECKING:
    from realizar.graph import Node
    from realizar.params import Activations
    from realizar.runtime.plan import Plan
    from realizar.runtime.weights import Tensor


class Rounding(NamedTuple):
    """How a value is rounded where it is computed.

    Attributes
    ----------
    block : int
        Elements that share a scale.
    keeps : bool
        Whether something reads it as float32 too.
    """

    block: int
    keeps: bool


class RoundedInputs:
    """Products with activations of int8 in a plan: linears whose weights have codes in device memory.

    Parameters
    ----------
    plan : Plan
    tensors : dict of str to Tensor
    activations : {"int8", "int16", "f32"}
        Only "int8" rounds; the other two multiply float32 with exact weights.
    """

    def __init__(self, plan: Plan, tensors: Mapping[str, Tensor], activations: Activations) -> None:
        self._views, self._tensors, self._rounds = plan.views, tensors, activations == "int8"
        self._blocks: dict[int, list[int]] = defaultdict(list)  # root -> blocks, of values that are whole roots
        self._changed: set[int] = set()
        self._kept = {plan.views[i].root for i in plan.outputs.values()}
        for op in plan.ops:
            if op.spec.in_place:  # what it changes is rounded where it is read
                self._changed.update(plan.views[i].root for i in op.outputs)
            blocks = [self.block(name) for name in op.weights] if op.op == "linear" else [0]
            for j, i in enumerate(op.inputs):
                view = plan.views[i]
                if j or not all(blocks) or view.n != plan.views[view.root].n:
                    self._kept.add(view.root)
                elif blocks:
                    self._blocks[view.root] += blocks

    def block(self, weight: str) -> int:
        """Return the block of activations for products with a weight; 0: it is multiplied with float32."""
        type_name = self._tensors[weight].type
        return FORMATS[type_name].act_block if self._rounds and type_name in UNPACK else 0

    def of_output(self, op: Node) -> Rounding | None:
        """Return how the op that computes a value rounds it; None if it does not."""
        view = self._views[op.outputs[0]]
        blocks = self._blocks.get(view.root)
        if not blocks or view.root in self._changed:
            return None
        return Rounding(blocks[0], view.root in self._kept or len(set(blocks)) > 1)
