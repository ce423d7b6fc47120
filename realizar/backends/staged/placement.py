"""Placement: which member of a staged backend computes each op of a model's plans."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from realizar.graph import Node
    from realizar.runtime.plan import Plan

LAYER = re.compile(r"(?:^|\.)blk\.(\d+)\.")
"""The number of a layer in the name of a tensor, a cache or a state; ``enc.`` and ``dec.`` may come first."""


@dataclass(frozen=True)
class Placement:
    """The members of layers and tensors, as numbers.

    Attributes
    ----------
    layers : tuple of int
        Member of each layer. Layers after these, such as draft blocks, belong to `after`.
    before, after : int
        Members of what comes before the first layer (the token embedding) and after the last (norm and logits).
    tensors : tuple of (str, int)
        Regular expressions of tensor names with members, in order of precedence: an op with such a weight runs there,
        unless it reads or writes a KV cache or a state, which stay with their layer.
    """

    layers: tuple[int, ...]
    before: int
    after: int
    tensors: tuple[tuple[str, int], ...] = ()

    def of_key(self, key: str) -> int:
        """Return the member that has the cache or state with this key."""
        found = LAYER.search(key)
        return self.after if found is None else self._of_layer(int(found[1]))

    def of_ops(self, plan: Plan) -> list[int]:
        """Return the member of each op; an op without weights runs with the layer of the op before it."""
        numbers = [_layer(op) for op in plan.ops]
        last = max((index for index, number in enumerate(numbers) if number is not None), default=-1)
        members, current = [], self.before
        for index, (op, number) in enumerate(zip(plan.ops, numbers, strict=True)):
            if number is not None:
                current = self._of_layer(number)
            elif index > last and op.weights:
                current = self.after
            members.append(self._of_tensors(op, current))
        return members

    def _of_layer(self, number: int) -> int:
        return self.layers[number] if number < len(self.layers) else self.after

    def _of_tensors(self, op: Node, otherwise: int) -> int:
        if key := _memory(op):
            return self.of_key(key)
        for pattern, member in self.tensors:
            if any(re.search(pattern, name) for name in op.weights):
                return member
        return otherwise


def _memory(op: Node) -> str | None:
    """The key of the cache or the state that an op reads or writes."""
    return op.attrs.get("cache") or op.attrs.get("state")


def _layer(op: Node) -> int | None:
    """The layer of an op, by its weights, else by its cache or state; None if neither names one."""
    names: Sequence[str] = (*op.weights, _memory(op) or "")
    found = next(filter(None, map(LAYER.search, names)), None)
    return None if found is None else int(found[1])
