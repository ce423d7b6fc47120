"""AdapterSlots: the adapters of sequences in the form that the kernels read."""

from __future__ import annotations

from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt

from realizar._kernels import adapters as kernels
from realizar._kernels.plan_adapters import add_control_vector, add_low_rank, add_low_rank_embed
from realizar.errors import ParameterError
from realizar.runtime.side_ops import EMBEDDING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from realizar._kernels.plan import Program
    from realizar.backends.cpu.memory_plan import MemoryPlan
    from realizar.graph import Node
    from realizar.runtime.adapters import Adapter, AdapterSet, AdapterTable, AdapterUse
    from realizar.runtime.weights import Tensor

Sets = tuple[list[kernels.AdapterSet], npt.NDArray[np.int32] | None]


class AdapterSlots:
    """Numbers the weights and places that programs update, and lays out the factors of adapters by these numbers.

    Parameters
    ----------
    table : AdapterTable | None
        The sets of adapters; None if no sequence may have any.
    """

    def __init__(self, table: AdapterTable | None) -> None:
        self.table = table
        self._slot_of: dict[str, int] = {}
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._tiled: WeakKeyDictionary[Adapter, dict[str, npt.NDArray[np.generic]]] = WeakKeyDictionary()
        self._sets: WeakKeyDictionary[AdapterSet, tuple[int, kernels.AdapterSet]] = WeakKeyDictionary()

    def add_low_rank(self, program: Program, mem: MemoryPlan, op: Node, index: int) -> None:
        """Append the kernels of the op "low_rank"."""
        (x, *products), views = op.inputs, mem.plan.views
        pairs = list(zip(op.attrs["targets"], products, strict=True))
        targets = [(self._slot(name, (views[y].n, views[x].n)), views[y].n, mem.rows(y)) for name, y in pairs]
        room = mem.scratch_of(index)["ax"]
        add_low_rank(program, views[x].n, targets, op.attrs["max_rank"], mem.rows(x), room, m_rows=views[x].m_rows)

    def add_low_rank_embed(
        self, program: Program, mem: MemoryPlan, op: Node, index: int, tensors: Mapping[str, Tensor]
    ) -> None:
        """Append the kernel of the op "low_rank_embed"."""
        (y,), name, attrs = op.inputs, op.attrs["target"], op.attrs
        slot, n = self._slot(name, tensors[name].shape), mem.plan.views[y].n
        add_low_rank_embed(program, slot, n, attrs["max_rank"], mem.rows(y), mem.scratch_of(index)["ax"],
                           attrs["scale"], attrs["by"] == "token")  # fmt: skip

    def of_experts(self, targets: Iterable[tuple[str | None, tuple[int, ...]]]) -> list[int | None]:
        """Return the slots of the weights of experts, given their shapes; None for those that no adapter changes."""
        return [None if name is None else self._slot(name, shape) for name, shape in targets]

    def add_control_vector(self, program: Program, mem: MemoryPlan, op: Node) -> None:
        """Append the kernel of the op "control_vector"."""
        (y,), view = op.inputs, mem.plan.views[op.inputs[0]]
        add_control_vector(program, self._slot(op.attrs["place"], (view.n, 1)), view.n, mem.rows(y), m_rows=view.m_rows)

    def _slot(self, name: str, shape: tuple[int, ...]) -> int:
        """Return the slot of a weight or a place, for factors of this shape: [..., n_out, n_in]."""
        self._shapes[name] = shape
        return self._slot_of.setdefault(name, len(self._slot_of))

    def sets(self, numbers: npt.NDArray[np.int32] | None) -> Sets:
        """Return the different sets of a step, and the index of each sequence's set, -1 for none.

        `numbers` are those of a checked Batch; None for steps without adapters.
        """
        if numbers is None or self.table is None:
            return [], None
        different = [number for number in dict.fromkeys(numbers.tolist()) if number]
        place = {number: index for index, number in enumerate(different)}
        found = [self.table.get(number) for number in different]
        sets = [self._laid_out(each) for each in found if each is not None]
        return sets, np.array([place.get(number, -1) for number in numbers.tolist()], np.int32)

    def _laid_out(self, adapters: AdapterSet) -> kernels.AdapterSet:
        """Return a set for all slots that there are now."""
        n_slot, made = self._sets.get(adapters, (-1, None))
        if made is None or n_slot != len(self._slot_of):
            made = kernels.AdapterSet([(self._factors(use), use.scale) for use in adapters.uses])
            self._sets[adapters] = len(self._slot_of), made
        return made

    def _factors(self, use: AdapterUse) -> kernels.Factors:
        out = kernels.Factors(len(self._slot_of))
        tiled = self._tiled.setdefault(use.adapter, {})
        for name in use.adapter.factors.keys() & self._slot_of.keys():
            found = use.of(name)
            if found is None:
                continue
            shape = (*found.b.shape[:-1], 1 if found.a is None else found.a.shape[-1])
            if shape != self._shapes[name]:
                raise ParameterError(
                    f"{use.adapter.path}: {name} of shape {shape}, the model's is {self._shapes[name]}"
                )
            # a row of the table is that of A, in `b`, for the token, times B, whose rows are the columns of `a`
            of_tokens = name == EMBEDDING
            a, b = (found.b, found.a.T) if of_tokens and found.a is not None else (found.a, found.b)
            if name not in tiled:
                tiled[name] = kernels.in_tiles(b)
            out.set(self._slot_of[name], a, tiled[name], b.shape[-2], found.scale, of_tokens)
        return out
