"""What each member of a placement needs: bytes of weights, KV cache, states and values, and the work of a token."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from math import ceil, prod
from typing import TYPE_CHECKING

from realizar._kernels.plan import N_PLANES
from realizar._kernels.rows import ACT_BLOCK
from realizar.backends.wgpu.forms import packed
from realizar.params import kv_types
from realizar.planning.floor import Floor
from realizar.runtime.batch import BLOCK
from realizar.runtime.passes import FUSIONS
from realizar.runtime.plan import assign_slots

if TYPE_CHECKING:
    from collections.abc import Hashable

    import numpy as np
    import numpy.typing as npt

    from realizar.backends.staged.placement import Placement
    from realizar.graph import Cache
    from realizar.model import Model
    from realizar.params import EngineParams
    from realizar.runtime.plan import Plan

KV_BYTES = {"f32": 4.0, "f16": 2.0, "int8": 1.0625, "q4": 0.5625}
"""Bytes of an element of the KV cache, scales included."""
SNAPSHOT_BYTES = 512 << 20
"""Most bytes of snapshots of states, as `engine.cache.kv_cache`; a snapshot is kept every SNAPSHOT_TOKENS."""
SNAPSHOT_TOKENS = 256
RESERVE = 64 << 20
"""Bytes for kernels and what else the driver keeps."""


@dataclass(frozen=True)
class Needs:
    """What one member needs.

    Attributes
    ----------
    weights, cache, values : int
        Bytes in device memory, weights in the form of the GPU.
    decode, prefill : Floor
        Its part of a step of one token with a half-full cache, and of one of n_batch tokens with an empty one.
    n_ops : int
    """

    weights: int
    cache: int
    values: int
    decode: Floor
    prefill: Floor
    n_ops: int

    @property
    def n_bytes(self) -> int:
        """Bytes of all, and a reserve."""
        return self.weights + self.cache + self.values + RESERVE


def needs(model: Model, params: EngineParams, placement: Placement, n_ctx: int) -> dict[int, Needs]:
    """Return what each member of a placement needs for the main program and the others.

    Parameters
    ----------
    model : Model
    params : EngineParams
    placement : Placement
    n_ctx : int
        Tokens of a sequence.
    """
    activations = params.activations or model.default_activations
    tensors: dict[int, set[str]] = defaultdict(set)
    for name in model.graphs:
        plan = model.plan(name, passes=FUSIONS)
        for op, member in zip(plan.ops, placement.of_ops(plan), strict=True):
            others = (*op.attrs.get("bias", ()), *op.attrs.get("scales", ()))
            tensors[member].update((*op.weights, *(name for name in others if name is not None)))
    plan = model.plan(passes=FUSIONS)
    cache = _cache_bytes(plan, params, placement, n_ctx)
    members = sorted({*tensors, *cache, *placement.of_ops(plan)})
    work = _Work(model, plan, placement, params.kv_type, activations)
    return {
        member: Needs(
            sum(_device_bytes(model, name) for name in tensors[member]), int(cache.get(member, 0)),
            _value_bytes(plan, placement, member, params), work.floor(member, 1, n_ctx / 2),
            work.floor(member, min(params.n_batch, n_ctx), 0), work.members.count(member),
        )
        for member in members
    }  # fmt: skip


def _device_bytes(model: Model, name: str) -> int:
    """Bytes of a tensor in the memory of a GPU: those of its first row in the form of its format, for each row."""
    tensor = model.tensors[name]
    if len(tensor.shape) == 1:
        return 4 * tensor.shape[0]
    rows = tensor.data.reshape(-1, tensor.data.shape[-1])
    return len(rows) * _row_bytes(rows, tensor.type)


def _row_bytes(rows: npt.NDArray[np.uint8], type_name: str) -> int:
    key = type_name, rows.shape[1]
    if key not in _ROWS:
        _ROWS[key] = sum(array.nbytes for array in packed(rows[:1], type_name).values())
    return _ROWS[key]


_ROWS: dict[tuple[str, int], int] = {}
"""Bytes of rows in device memory, by format and bytes in the file."""


def token_bytes(at: Cache, kv_type: object) -> float:
    """Bytes of the keys and values of one token in one layer."""
    k, v = (KV_BYTES[name] for name in kv_types(kv_type))
    return at.n_head_kv * (at.head_dim_k * k + at.head_dim_v * v)


def _cache_bytes(plan: Plan, params: EngineParams, placement: Placement, n_ctx: int) -> dict[int, float]:
    out: dict[int, float] = defaultdict(float)
    for group in plan.cache_groups:
        n = min(n_ctx, group.window + params.n_batch + BLOCK) if group.window else n_ctx
        for at in group.layers:
            out[placement.of_key(at.key)] += params.n_seqs * BLOCK * ceil(n / BLOCK) * token_bytes(at, params.kv_type)
    slot = sum(4 * prod(at.shape) for at in plan.states)
    if slot:
        n_slots = 2 * params.n_seqs + min(params.n_seqs * (n_ctx // SNAPSHOT_TOKENS + 1), SNAPSHOT_BYTES // slot)
        for state in plan.states:
            out[placement.of_key(state.key)] += n_slots * 4 * prod(state.shape)
    return out


def _value_bytes(plan: Plan, placement: Placement, member: int, params: EngineParams) -> int:
    """Bytes of the values of a step: slots of the ops of this member, logits for each sequence."""
    members = placement.of_ops(plan)
    life: dict[Hashable, tuple[int, int]] = {}
    for index, op in enumerate(plan.ops):
        if members[index] == member:
            for i in (*op.inputs, *op.outputs):
                root = plan.views[i].root
                life[root] = (life.get(root, (index, index))[0], index)
    of_rows = {root: span for root, span in life.items() if not plan.views[root].m_rows}  # type: ignore[index]
    width = {root: 4 * plan.views[root].n for root in life}  # type: ignore[index]
    few = sum(width[root] for root in life if root not in of_rows)
    return params.n_batch * sum(assign_slots(of_rows, width).width) + params.n_seqs * few


class _Work:
    """The bytes that the ops of a plan read, and their operations."""

    def __init__(self, model: Model, plan: Plan, placement: Placement, kv_type: object, activations: str) -> None:
        self._model, self._plan, self._placement = model, plan, placement
        self._kv_type, self._activations = kv_type, activations
        self.members = placement.of_ops(plan)

    def floor(self, member: int, n_tokens: int, n_past: float) -> Floor:
        """Return the floor of the ops of a member in a step of one sequence, of which one row is an output."""
        plan, n_bytes, int8, f32 = self._plan, 0.0, 0.0, 0.0
        for op, where in zip(plan.ops, self.members, strict=True):
            if where != member or op.spec.is_override:
                continue
            n = 1 if op.inputs and plan.views[op.inputs[0]].m_rows else n_tokens
            for name, use in self._model.uses(plan, op):
                n_bytes += use.share(n) * self._model.tensors[name].data.nbytes
                rounded = self._is_rounded(name) and use.operand != "float"
                int8 += 2 * n * N_PLANES[self._activations] * use.multiply_adds if rounded else 0
                f32 += 0 if rounded else 2 * n * use.multiply_adds
            if op.attrs.get("cache") is not None:
                group, at = plan.cache(op.attrs["cache"])
                n_bytes += min(n_past, plan.cache_groups[group].window or n_past) * token_bytes(at, self._kv_type)
        n_bytes += sum(8 * prod(at.shape) for at in plan.states if self._placement.of_key(at.key) == member)
        return Floor(n_bytes, int8, f32)

    def _is_rounded(self, name: str) -> bool:
        return self._activations != "f32" and bool(ACT_BLOCK[self._model.tensors[name].type])
