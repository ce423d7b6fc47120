"""MemoryPlan: assigns arena memory to the values, quantized activation rows and scratch buffers of a plan."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from realizar._kernels.kv import ATTEND_SPLIT, kv_bytes
from realizar._kernels.plan import act_bytes
from realizar._kernels.rows import ACT_BLOCK
from realizar.backends.cpu.chains import chain_spans
from realizar.backends.cpu.compiled import CompiledPlan, Rows
from realizar.backends.cpu.layout import floats
from realizar.errors import GraphError, ParameterError
from realizar.graph import Node, RopeScaling
from realizar.graph.rope import factors_for, rope_frequencies
from realizar.runtime.backend import CompileParams
from realizar.runtime.batch import BLOCK
from realizar.runtime.plan import Plan, assign_slots
from realizar.runtime.weights import Tensor

Rope = tuple[npt.NDArray[np.float32], float, bool, npt.NDArray[np.int32] | None, Rows]


@dataclass(frozen=True)
class BindParams(CompileParams):
    """Parameters of a program of the CPU backend.

    Attributes
    ----------
    kv_type : str or pair of str
        See EngineParams.
    isa : str | None
        ISA level of the kernels; by default the current one.
    """

    kv_type: str | tuple[str, str] = "f16"
    isa: str | None = None


def kv_shape(plan: Plan, op: Node) -> tuple[int, int, int]:
    """Return n_head_kv, head_dim and head_dim_v of an op that reads or writes K and V."""
    if op.spec.kv_shape is None:
        raise GraphError(f"op {op.op!r} has no keys and values")
    return op.spec.kv_shape([plan.shapes[i] for i in op.inputs], op.attrs)


class MemoryPlan:
    """The memory of one compiled plan.

    Attributes
    ----------
    act_rows : dict
        (value, block) -> index of the last op that reads the value as quantized activation rows with that block length.
    written : dict of int to int
        Root value -> index of the last op that writes it.
    materialised : set[int]
        Root values that are read as floats.
    chains : list of (int, int)
        Of each op, the first and the last op of its chain.
    ropes : dict
        Key of a rotation -> frequencies, factor, style, axes of the frequencies and the rows of its table.
    value_bytes : int
        Bytes of values, activation rows and scratch at the beginning of the arena; rope tables and splits follow.
    partial : (int, int)
        Offset and bytes of the partial results of attention splits that are computed in parallel.
    n_scored : int
        Keys for which an indexer has room: those of the context in whole blocks.
    lent : uint8 array
        Memory that programs which share that of this one may use.
    scores : (int, int)
        Offset and bytes of the scores of an indexer, which the workers compute together for as many rows as workers.
    """

    def __init__(self, plan: Plan, tensors: Mapping[str, Tensor], params: BindParams, n_threads: int) -> None:
        self.plan, self.tensors, self.params, self.n_threads = plan, tensors, params, n_threads
        self.chains = chain_spans(plan)
        self.producer = {i: index for index, op in enumerate(plan.ops) for i in op.outputs}
        self.written = {plan.views[i].root: index for index, op in enumerate(plan.ops) for i in op.outputs}
        self.act_rows = self._act_rows()
        self.materialised = self._materialised()
        self.ropes: dict[Any, Rope] = {}
        self.n_bytes = 0
        self._place_values()
        self._place_ropes()
        self.partial = self._place_partial()
        self.n_scored = -(-params.n_ctx // BLOCK) * BLOCK
        self.scores = self._place_scores()
        self.arena = self._new_arena()

    def _act_block(self, weight: str) -> int:
        return 0 if self.params.activations == "f32" else ACT_BLOCK[self.tensors[weight].type]

    def _act_bytes(self, k: int, block: int) -> int:
        return act_bytes(k, block, self.params.activations)

    def _act_rows(self) -> dict[tuple[int, int], int]:
        last: dict[tuple[int, int], int] = {}
        for index, op in enumerate(self.plan.ops):
            for weight in self._multiplied(op):
                if block := self._act_block(weight):
                    last[op.inputs[0], block] = index
        return last

    def _materialised(self) -> set[int]:
        views = self.plan.views
        out = {views[i].root for i in self.plan.outputs.values()}
        for op in self.plan.ops:
            inputs = op.inputs
            is_quantized = (weights := self._multiplied(op)) and all(self._act_block(weight) for weight in weights)
            if is_quantized and not op.attrs.get("targets"):  # adapters read floats
                inputs = op.inputs[1:]
            out.update(views[i].root for i in inputs)
        for i, _ in self.act_rows:
            if not self.can_quantize(i):
                out.add(views[i].root)
        return out

    def _shapes(self, op: Node) -> tuple[list[tuple[int, ...]], list[tuple[int, ...]]]:
        """Return the shapes of an op's inputs and weights, the arguments of the functions of its OpSpec."""
        return [self.plan.shapes[i] for i in op.inputs], [self.tensors[name].shape for name in op.weights]

    def _multiplied(self, op: Node) -> list[str]:
        """Return the weights with which the first input is multiplied; their formats determine its form."""
        uses = op.spec.uses(*self._shapes(op), op.attrs)
        return [name for name, use in zip(op.weights, uses, strict=True) if use.operand == "input"]

    def can_quantize(self, i: int) -> bool:
        """Whether the op that computes a value can also write its quantized activation rows."""
        return i in self.producer and self.plan.ops[self.producer[i]].spec.quantizes_output

    def _scratch(self, op: Node) -> dict[str, int]:
        """Return the scratch buffers of an op: name -> bytes for each row of the batch."""
        found: dict[str, int] = {}
        for at in op.spec.scratch(*self._shapes(op), op.attrs):
            block = 0 if at.form == "float" else self._act_block(op.weights[at.weight])
            if at.form == "input" and not block:  # whole rows of the root value are copied
                found[f"{at.name}0"] = 4 * at.n_rows * self.plan.views[self.plan.views[op.inputs[0]].root].n
            elif at.form == "float":
                found[at.name] = 4 * at.n_rows * at.n
            elif block:
                name = f"{at.name}{block}" if at.form == "input" else at.name
                found[name] = at.n_rows * self._act_bytes(at.n, block)
        return found

    def _place_values(self) -> None:
        plan, views = self.plan, self.plan.views
        life: dict[Hashable, tuple[int, int]] = {}
        width: dict[Hashable, int] = {}
        for root, span in plan.lifetimes().items():
            if root in self.materialised:
                life[root], width[root] = span, 4 * views[root].n
        for (i, block), last in self.act_rows.items():
            life[i, block] = (self.producer[views[i].root], last)
            width[i, block] = self._act_bytes(views[i].n, block)
        for index, op in enumerate(plan.ops):
            for name, n_bytes in self._scratch(op).items():
                life[name, index], width[name, index] = (index, index), n_bytes
        ends = [*self.chains, (len(plan.ops),) * 2]  # outputs live until after the last op
        slots = assign_slots({key: (ends[a][0], ends[b][1]) for key, (a, b) in life.items()}, width)
        starts = [self._take(w * self.params.n_batch) for w in slots.width]
        self.start = {key: starts[slot] for key, slot in slots.slot.items()}
        self.width = width
        self.value_bytes = self.n_bytes

    def _take(self, n_bytes: int) -> int:
        start = self.n_bytes
        self.n_bytes += (n_bytes + 63) // 64 * 64
        return start

    def _new_arena(self) -> npt.NDArray[np.uint8]:
        shared = self.params.shares
        if isinstance(shared, CompiledPlan) and shared.lent.nbytes >= self.n_bytes:
            self.lent = shared.lent
            return shared.lent[: self.n_bytes]
        try:
            arena = np.empty(self.n_bytes + 64, np.uint8)
        except (MemoryError, ValueError):  # ValueError: numpy's error for sizes beyond the address space
            raise ParameterError(
                f"n_batch={self.params.n_batch}: the values of a step take {self.n_bytes / 2**30:.1f} GiB, which "
                "cannot be allocated; use a smaller n_batch"
            ) from None
        start = -arena.ctypes.data % 64
        self.lent = arena[start : start + self.n_bytes]
        return self.lent

    def _place_ropes(self) -> None:
        for op in self.plan.ops:
            attrs = op.spec.rotation(op.attrs)
            if attrs is None:
                continue
            weights = attrs.get("factors", op.weights)
            key = rope_key(attrs, weights)
            if key not in self.ropes:
                scaling: RopeScaling = attrs["scaling"]
                table = factors_for(weights, scaling, self.params.n_ctx)
                factors = None if table is None else floats(self.tensors, table)
                inv_freq, mscale = rope_frequencies(attrs["dims"], attrs["base"], scaling, factors)
                rows = (self._take(4 * attrs["dims"] * self.params.n_batch), attrs["dims"])
                axes = None if attrs["axes"] is None else np.array(attrs["axes"], np.int32)
                self.ropes[key] = (inv_freq, mscale, attrs["style"] == "neox", axes, rows)

    def _place_partial(self) -> Rows:
        most = 0
        for op in self.plan.ops:
            if op.spec.attends:
                n_head = self.plan.shapes[op.inputs[0]][0]
                n_head_kv, _, dim = kv_shape(self.plan, op)
                n_split = -(-self.params.n_ctx // ATTEND_SPLIT)
                most = max(most, 4 * self.n_threads * n_split * (n_head // n_head_kv) * (dim + 2) * 4)
        return self._take(most), most

    def _place_scores(self) -> Rows:
        needed = any(op.spec.scores_keys for op in self.plan.ops)
        most = 4 * self.n_threads * self.n_scored if needed else 0
        return self._take(most), most

    def peak_bytes(self, n_outputs: int) -> int:
        """Return the peak arena bytes that steps touch; values after row pruning need only `n_outputs` rows."""
        views, n_batch = self.plan.views, self.params.n_batch
        reach: dict[int, int] = {}
        for key, start in self.start.items():
            value = key[0] if isinstance(key, tuple) else key
            is_pruned = isinstance(value, int) and views[value].m_rows
            width = self.width[key] * (n_outputs if is_pruned else n_batch)
            reach[start] = max(reach.get(start, 0), width)
        return self.n_bytes - self.value_bytes + sum(reach.values())

    def rows(self, i: int) -> Rows:
        """Return the rows of a value: offset in bytes, and distance between rows in floats."""
        view = self.plan.views[i]
        ld = self.plan.views[view.root].n
        return self.start[view.root] + 4 * view.offset, ld

    def scratch_of(self, index: int) -> dict[str, int]:
        """Return the scratch buffers of an op: name -> offset in bytes."""
        return {name: self.start[name, index] for name in self._scratch(self.plan.ops[index])}

    def act_row(self, i: int, block: int) -> Rows | None:
        """Return a value's quantized activation rows, if an op reads them: offset, and distance in bytes; else None."""
        return (self.start[i, block], self.width[i, block]) if (i, block) in self.act_rows else None


def step_kv(n_batch: int, shape: tuple[int, int, int]) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """Allocate blocks for the K and V of one step, uint8 [n_blocks, n_head_kv, bytes of a head] of float32.

    Every sequence begins a new block; in the worst case each row does. Untouched pages take no RAM.
    """
    n_head_kv, *head_dims = shape
    n_blocks = n_batch + -(-n_batch // BLOCK)
    k, v = (np.empty((n_head_kv, n_blocks, kv_bytes("f32", dim)), np.uint8).swapaxes(0, 1) for dim in head_dims)
    return k, v


def rope_key(attrs: Mapping[str, Any], weights: tuple[str, ...]) -> tuple[Any, ...]:
    """Return the key of a rotation; rotations with the same key share one table of cosines and sines."""
    return (attrs["dims"], attrs["base"], attrs["style"], attrs["scaling"], attrs["axes"], weights)
