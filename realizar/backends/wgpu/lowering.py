"""Lowering: from the ops of a plan to dispatches, made once when it is compiled."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from itertools import groupby
from math import prod
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from realizar.backends.wgpu.kernels import Constant, Kernel, Part, kernel
from realizar.backends.wgpu.one_row import OneRow
from realizar.backends.wgpu.rounded import RoundedInputs

if TYPE_CHECKING:
    from realizar.backends.wgpu.adapters import AdapterTables
    from realizar.backends.wgpu.device import Device
    from realizar.backends.wgpu.step import StepInputs
    from realizar.backends.wgpu.storage import WgpuStorage
    from realizar.backends.wgpu.weights import Weights
    from realizar.graph import Node
    from realizar.runtime.backend import CompileParams
    from realizar.runtime.plan import Plan
    from realizar.runtime.weights import Tensor


MANY = 1 << 31
"""Any number of rows."""


MAX_OUTPUTS, MAX_PRODUCTS = 3, 3
"""Values that one product writes, and products of a dispatch, at most."""


class Place(NamedTuple):
    """Memory of a value: `n` floats of each row, from element `at` of the rows of `ld` floats of a buffer.

    Attributes
    ----------
    key : hashable
        The root of the value, or the name of scratch memory.
    m_rows : bool
        Whether it has a row for each output of the step, not for each row.
    """

    key: Hashable
    at: int
    ld: int
    n: int
    m_rows: bool


class Dispatch(NamedTuple):
    """A kernel with its buffers: those of values by the key of their place.

    Attributes
    ----------
    kernel : Kernel
    buffers : tuple
        In the order of the kernel's bindings: keys of places, wgpu buffers, and an AdapterPool for its buffer.
    x : int
        Workgroups in the first dimension.
    m_rows : bool
        Whether the second dimension has the outputs of a step, or all its rows.
    per : int
        Rows of a workgroup.
    split : int
        If not 0, the third dimension has a workgroup for each `split` rows of the longest sequence.
    z : int
        Workgroups in the third dimension otherwise.
    """

    kernel: Kernel
    buffers: tuple[Any, ...]
    x: int
    m_rows: bool
    per: int
    split: int = 0
    z: int = 1


class ByRows(NamedTuple):
    """Dispatches for up to some number of rows each, ascending; the last ones for any number."""

    m_rows: bool
    choices: tuple[tuple[int, tuple[Dispatch, ...]], ...]


class BySplits(NamedTuple):
    """A dispatch; and some for up to `most` rows if the longest sequence has more than `split` rows."""

    most: int
    split: int
    whole: Dispatch
    parts: tuple[Dispatch, ...]


class FromBatch(NamedTuple):
    """Dispatches that apply if a step has no embeddings; with embeddings, the op runs on the host."""

    dispatches: tuple[Dispatch, ...]


class Decoding(NamedTuple):
    """Attention that stores the keys and values of its rows, for steps with a row for each sequence; and others."""

    one_each: BySplits
    other: tuple[Work, ...]


Work: TypeAlias = "Dispatch | ByRows | BySplits | FromBatch | Decoding"


class Lowering:
    """What the functions of ops/ need to make dispatches of an op.

    Parameters
    ----------
    plan, device, weights, storage, tensors, step, adapters, params
        Those of the program.

    Attributes
    ----------
    plan : Plan
    tensors : dict of str to Tensor
    weights : Weights
    storage : WgpuStorage
    step : StepInputs
    adapters : AdapterTables
    params : CompileParams
    rounded : RoundedInputs
    one_row : OneRow
    early : set of int
        Ids of the ops whose outputs earlier ops write in steps of one row.
    skipped : set
        Keys of rounded values that are not there in steps of one row.
    kept : dict
        Key of a value -> indices of the first and the last op that use it though the plan does not say so.
    index : int
        That of the op whose dispatches are made.
    scratch_life : dict
        Key of scratch memory -> indices of the first and the last op that use it.
    places : dict
        Places of scratch memory, by key.
    uses_tiles, subgroup_size
        See `Device`.
    made : list of wgpu buffer
        Buffers of the program, besides those of values.
    """

    def __init__(
        self, plan: Plan, device: Device, weights: Weights, storage: WgpuStorage, tensors: Mapping[str, Tensor],
        step: StepInputs, adapters: AdapterTables, params: CompileParams,
    ) -> None:  # fmt: skip
        self.plan, self.weights, self.storage, self.tensors = plan, weights, storage, tensors
        self.step, self.adapters, self.params, self._device = step, adapters, params, device
        self.index = 0
        self.scratch_life: dict[Hashable, tuple[int, int]] = {}
        self.kept: dict[Hashable, tuple[int, int]] = {}
        self.places: dict[Hashable, Place] = {}
        self.made: list[Any] = []
        self._shared: dict[tuple[str, int], Any] = {}
        self.uses_tiles, self.subgroup_size = device.uses_tiles, device.subgroup_size
        self.rounded = RoundedInputs(plan, tensors, params.activations)
        self.one_row = OneRow(plan, self.rounded, self.joins)
        self.skipped: set[Hashable] = set()
        self.early: set[int] = set()

    @property
    def exchange(self) -> dict[str, Constant]:
        """Whether invocations exchange numbers within subgroups, of which 32 are in one, or through memory."""
        has_subgroups = self.subgroup_size >= 32
        return {"HAS_SUBGROUPS": has_subgroups, "USES_MEMORY": not has_subgroups}

    def keep(self, place: Place) -> None:
        """Let the current op use a value that it neither reads nor writes in the plan."""
        first, last = self.kept.get(place.key, (self.index, self.index))
        self.kept[place.key] = (min(first, self.index), max(last, self.index))

    def written_early(self, op: Node) -> Place:
        """Return the memory of an op's output, which the current op writes in steps of one row."""
        place = self.place(op.outputs[0])
        self.keep(place)
        self.early.add(id(op))
        return place

    def place(self, i: int) -> Place:
        """Return the memory of a value."""
        view = self.plan.views[i]
        return Place(view.root, view.offset, self.plan.views[view.root].n, view.n, view.m_rows)

    def grouped(self, op: Node) -> list[list[tuple[str, str | None, int]]]:
        """Return weight, bias and output of the products of a linear, those together that are one matrix."""
        rows = zip(op.weights, op.attrs["bias"], op.outputs, strict=True)
        made = []
        for _, group in groupby(rows, lambda row: (self.tensors[row[0]].type, row[1] is not None)):
            own = list(group)
            while own:
                n = min(len(own), MAX_OUTPUTS)
                while n > 1 and not self.weights.fits(*(self.tensors[name] for name, _, _ in own[:n])):
                    n -= 1
                made.append(own[:n])
                own = own[n:]
        return made

    def joins(self, op: Node) -> bool:
        """Whether one dispatch can have all products of a linear."""
        whole = all(self.weights.fits(self.tensors[name]) for name in op.weights)
        return whole and len(self.grouped(op)) <= MAX_PRODUCTS

    def scratch(self, n: int, m_rows: bool) -> Place:
        """Return memory of n floats for each row, that only the current op uses."""
        return self._memory(("scratch", self.index, len(self.scratch_life)), n, m_rows)

    def rounded_to_int8(self, x: Place, block: int) -> tuple[Place, bool]:
        """Return the memory of a value rounded to int8 in blocks, and whether it is to be written now."""
        key = ("int8", x.key, x.at, x.n, block)
        is_new = key not in self.places
        return self._memory(key, 12 * x.n // 32, x.m_rows), is_new

    def _memory(self, key: Hashable, n: int, m_rows: bool) -> Place:
        """Return memory outside of values, which the current op uses too."""
        first, _ = self.scratch_life.get(key, (self.index, 0))
        self.scratch_life[key] = (first, self.index)
        self.places[key] = Place(key, 0, n, n, m_rows)
        return self.places[key]

    def shapes(self, op: Node) -> list[tuple[int, ...]]:
        """Return the shapes of an op's inputs."""
        return [self.plan.shapes[i] for i in op.inputs]

    def vector(self, name: str | None) -> tuple[Any, int]:
        """Return the buffer and the number of elements of a small tensor as float32; (None, 0) for None."""
        if name is None:
            return None, 0
        return self.weights.vector(self.tensors[name]), prod(self.tensors[name].shape)

    def floats(self, values: Any) -> Any:
        """Return a buffer with numbers that the op needs, for as long as the program."""
        self.made.append(self.weights.floats(values))
        return self.made[-1]

    def shared_memory(self, name: str, n_floats: int) -> Any:
        """Return a buffer that ops use one after another, each only while it runs; one for each name and size."""
        key = (name, n_floats)
        if key not in self._shared:
            self._shared[key] = self.weights.memory(4 * n_floats)
            self.made.append(self._shared[key])
        return self._shared[key]

    def dispatch(
        self, name: str, constants: Mapping[str, Constant], buffers: Mapping[str, Any], *, x: int, m_rows: bool,
        per: int = 1, parts: Sequence[str | Part] = (), split: int = 0, z: int = 1,
    ) -> Dispatch:  # fmt: skip
        """Return a dispatch of a kernel; `buffers` has a Place or a buffer for each of its bindings.

        A place NAME also gives the kernel the constants NAME_LD and NAME_AT, in capitals; bindings that `buffers` lacks
        or that are None are not used.
        """
        places = {key.upper(): place for key, place in buffers.items() if isinstance(place, Place)}
        all_constants = {**self.exchange, **constants}
        for key, place in places.items():
            all_constants.update({f"{key}_LD": place.ld, f"{key}_AT": place.at})
        found = kernel(self._device, name, all_constants, parts)
        keys = []
        for at in found.bindings:
            bound = buffers.get(at.name)
            if bound is None:
                bound = self.weights.unwritten if at.is_written else self.weights.unread
            keys.append(bound.key if isinstance(bound, Place) else bound)
        return Dispatch(found, tuple(keys), x, m_rows, per, split, z)


def groups(n: int, size: int = 64) -> int:
    """Workgroups of `size` invocations for n elements."""
    return -(-n // size)
