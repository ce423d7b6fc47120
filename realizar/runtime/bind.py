"""bind(plan): gives a plan what the CPU needs - arena, int8 activations, kernels, threads - and makes it runnable."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from realizar._kernels.kv import ATTEND_SPLIT
from realizar._kernels.plan import Pool, Program, act_bytes
from realizar._kernels.rows import ACT_BLOCK
from realizar.errors import GraphError, ParameterError
from realizar.graph import Node, RopeScaling
from realizar.graph.rope import rope_frequencies
from realizar.params import kv_types
from realizar.runtime.compiled import CompiledPlan, Limits, Rows
from realizar.runtime.plan import Plan, assign_slots
from realizar.runtime.weights import Tensor, floats

KV = Mapping[int, tuple[npt.NDArray[Any], npt.NDArray[Any]]]

# Ops that can write the int8 records of their result beside it.
_QUANTIZES_ITSELF = ("rms_norm", "layer_norm", "add", "mul", "scale", "silu", "gelu", "swiglu")


@dataclass(frozen=True)
class BindParams:
    """What a binding depends on beside the plan.

    Attributes
    ----------
    n_batch : int
        Rows of a step at most.
    n_ctx : int
        Tokens of a sequence at most.
    activations : str
        "int8" or "f32".
    kv_type : str or pair of str
        As in EngineParams.
    isa : str | None
        Tier of the kernels; the one in use by default.
    """

    n_batch: int
    n_ctx: int
    activations: str = "int8"
    kv_type: str | tuple[str, str] = "f16"
    isa: str | None = None


def bind(
    plan: Plan, tensors: Mapping[str, Tensor], pool: Pool, params: BindParams, kv: KV,
    states: Mapping[str, npt.NDArray[np.float32]],
) -> CompiledPlan:  # fmt: skip
    """Binds a plan to the CPU.

    Parameters
    ----------
    plan : Plan
    tensors : dict[str, Tensor]
        By GGUF name.
    pool : Pool
        Worker threads.
    params : BindParams
    kv : dict
        layer -> (K, V), each uint8 [n_blocks, n_head_kv, kv_bytes(its type, its head_dim)].
    states : dict
        State.key -> float32 [n_slots, *shape].

    Raises
    ------
    GraphError
        If the plan holds an op that this backend lacks, or attention heads that it has no room for.
    """
    return _Binder(plan, tensors, pool, params, kv, states).bind()


class _Binder:
    """One binding in the making."""

    def __init__(
        self, plan: Plan, tensors: Mapping[str, Tensor], pool: Pool, params: BindParams, kv: KV,
        states: Mapping[str, npt.NDArray[np.float32]],
    ) -> None:  # fmt: skip
        self.plan, self.tensors, self.pool, self.params, self.kv, self.states = plan, tensors, pool, params, kv, states
        self.producer = {i: index for index, op in enumerate(plan.ops) for i in op.outputs}
        self.records = self._records()
        self.materialised = self._materialised()
        self.ropes: dict[Any, tuple[npt.NDArray[np.float32], float, bool, Rows]] = {}
        self.n_bytes = 0
        self._place_values()
        self._place_ropes()
        self.partial = self._place_partial()
        self.arena = self._new_arena()
        self.program = Program(pool, self.arena, params.n_batch, params.isa)

    # ---- memory

    def _act_block(self, weight: str) -> int:
        return ACT_BLOCK[self.tensors[weight].type] if self.params.activations == "int8" else 0

    def _records(self) -> dict[tuple[int, int], int]:
        """(value, block) -> index of the last linear that reads the value as int8 records of that block."""
        last: dict[tuple[int, int], int] = {}
        for index, op in enumerate(self.plan.ops):
            if op.op == "linear":
                for weight in op.weights:
                    if block := self._act_block(weight):
                        last[op.inputs[0], block] = index
        return last

    def _materialised(self) -> set[int]:
        """Root values whose floats somebody reads."""
        views = self.plan.views
        out = {views[i].root for i in self.plan.outputs.values()}
        for op in self.plan.ops:
            inputs = op.inputs
            if op.op == "linear" and all(self._act_block(weight) for weight in op.weights):
                inputs = op.inputs[1:]
            out.update(views[i].root for i in inputs)
        for i, _ in self.records:
            if not self._writes_records(i):
                out.add(views[i].root)
        return out

    def _writes_records(self, i: int) -> bool:
        """Whether the op that makes a value can write its records itself."""
        return i in self.producer and self.plan.ops[self.producer[i]].op in _QUANTIZES_ITSELF

    def _place_values(self) -> None:
        plan, views = self.plan, self.plan.views
        life: dict[Hashable, tuple[int, int]] = {}
        width: dict[Hashable, int] = {}
        for root, span in plan.lifetimes().items():
            if root in self.materialised:
                life[root], width[root] = span, 4 * views[root].n
        for (i, block), last in self.records.items():
            life[i, block] = (self.producer[views[i].root], last)
            width[i, block] = act_bytes(views[i].n, block)
        for index, op in enumerate(plan.ops):
            if op.op == "attention" and op.attrs["rope"] is not None:
                life["q_rot", index], width["q_rot", index] = (index, index), 4 * views[op.inputs[0]].n
        slots = assign_slots(life, width)
        starts = [self._take(w * self.params.n_batch) for w in slots.width]
        self.start = {key: starts[slot] for key, slot in slots.slot.items()}
        self.width = width

    def _take(self, n_bytes: int) -> int:
        start = self.n_bytes
        self.n_bytes += (n_bytes + 63) // 64 * 64
        return start

    def _new_arena(self) -> npt.NDArray[np.uint8]:
        try:
            arena = np.empty(self.n_bytes + 64, np.uint8)
        except (MemoryError, ValueError):  # numpy's word for more than an address can count
            raise ParameterError(
                f"n_batch={self.params.n_batch}: the values of a step take {self.n_bytes / 2**30:.1f} GiB, which the "
                "system does not give; ask for less n_batch"
            ) from None
        start = -arena.ctypes.data % 64
        return arena[start : start + self.n_bytes]

    def _place_ropes(self) -> None:
        for op in self.plan.ops:
            attrs = op.attrs if op.op == "rope" else op.attrs.get("rope")
            if attrs is None:
                continue
            key = _rope_key(attrs, op.weights)
            if key not in self.ropes:
                factors = floats(self.tensors, op.weights[0]) if op.weights else None
                scaling: RopeScaling = attrs["scaling"]
                inv_freq, mscale = rope_frequencies(attrs["dims"], attrs["base"], scaling, factors)
                rows = (self._take(4 * attrs["dims"] * self.params.n_batch), attrs["dims"])
                self.ropes[key] = (inv_freq, mscale, attrs["style"] == "neox", rows)

    def _place_partial(self) -> Rows:
        """Room for the splits that few queries over many keys are taken in side by side."""
        most = 0
        for op in self.plan.ops:
            if op.op == "attention":
                (n_head, _), (n_head_kv, _), (_, dim) = (self.plan.shapes[i] for i in op.inputs)
                n_split = -(-self.params.n_ctx // ATTEND_SPLIT)
                most = max(most, 4 * self.pool.n_threads * n_split * (n_head // n_head_kv) * (dim + 2) * 4)
        return self._take(most), most

    def _rows(self, i: int) -> Rows:
        view = self.plan.views[i]
        ld = self.plan.views[view.root].n
        return self.start[view.root] + 4 * view.offset, ld

    def _act(self, i: int, block: int) -> Rows | None:
        return (self.start[i, block], self.width[i, block]) if (i, block) in self.records else None

    # ---- ops

    def bind(self) -> CompiledPlan:
        """Appends all ops to the program."""
        for rope in self.ropes.values():
            self.program.add_rope_table(rope)
        for index, op in enumerate(self.plan.ops):
            add = getattr(self, f"_add_{op.op}", self._add_rowwise if op.op in _ROWWISE else None)
            if add is None:
                raise GraphError(f"op {op.op!r} is not known to the CPU backend")
            add(op, index)
            self._add_quantize(op)
        places = {name: self._rows(i) for name, i in self.plan.outputs.items()}
        tables = (self.tensors[op.weights[0]] for op in self.plan.ops if op.op == "embed")
        first = [group.layers[0].layer for group in self.plan.cache_groups]
        limits = Limits(
            n_vocab=min((table.shape[0] for table in tables), default=2**31),
            n_slots=min((len(state) for state in self.states.values()), default=2**31),
            n_blocks=tuple(len(self.kv[layer][0]) for layer in first),
        )
        return CompiledPlan(self.plan, self.program, self.arena, places, limits)

    def _add_quantize(self, op: Node) -> None:
        """Explicit records of what an op made but could not quantize itself."""
        roots = set(op.outputs)
        for i in sorted({i for i, _ in self.records}):
            view = self.plan.views[i]
            if view.root in roots and not self._writes_records(i):
                self.program.add_rowwise("quantize", view.n, m_rows=view.m_rows, x=self._rows(i),
                                         act32=self._act(i, 32), act256=self._act(i, 256))  # fmt: skip

    def _add_rowwise(self, op: Node, index: int) -> None:
        (y,) = op.outputs
        view = self.plan.views[y]
        w = [floats(self.tensors, name) for name in op.weights]
        n = len(w[0]) if w else view.n
        writes = self._writes_records(y)
        self.program.add_rowwise(
            op.op, n, n_repeat=view.n // n, m_rows=view.m_rows,
            x=self._rows(op.inputs[0]),
            x2=self._rows(op.inputs[1]) if len(op.inputs) > 1 else None,
            y=self._rows(y) if y in self.materialised else None,
            scalar=op.attrs.get("eps", op.attrs.get("factor", 0.0)),
            w=w[0] if w else None, b=w[1] if len(w) > 1 else None,
            act32=self._act(y, 32) if writes else None, act256=self._act(y, 256) if writes else None,
        )  # fmt: skip

    def _add_embed(self, op: Node, index: int) -> None:
        table = self.tensors[op.weights[0]]
        self.program.add_embed(table.type, table.data, table.shape[1], self._rows(op.outputs[0]))

    def _add_linear(self, op: Node, index: int) -> None:
        x = op.inputs[0]
        weights = [
            (self.tensors[name].type, self.tensors[name].data,
             None if bias is None else floats(self.tensors, bias), self._rows(y))
            for name, bias, y in zip(op.weights, op.attrs["bias"], op.outputs, strict=True)
        ]  # fmt: skip
        self.program.add_linear(
            self.plan.views[x].n, weights, m_rows=self.plan.views[x].m_rows,
            x=self._rows(x) if self.plan.views[x].root in self.materialised else None,
            act32=self._act(x, 32), act256=self._act(x, 256),
            residual=self._rows(op.inputs[1]) if op.attrs["residual"] else None,
            f32=self.params.activations == "f32",
        )  # fmt: skip

    def _add_rope(self, op: Node, index: int) -> None:
        n_head, head_dim = self.plan.shapes[op.inputs[0]]
        self.program.add_rope(head_dim, n_head, self._rows(op.inputs[0]), self._rows(op.outputs[0]),
                              self.ropes[_rope_key(op.attrs, op.weights)])  # fmt: skip

    def _add_attention(self, op: Node, index: int) -> None:
        q, k, v = op.inputs[:3]
        (n_head, head_dim_k), (n_head_kv, _), (_, head_dim_v) = (self.plan.shapes[i] for i in (q, k, v))
        attrs, layer = op.attrs, op.attrs["layer"]
        rope = None if attrs["rope"] is None else self.ropes[_rope_key(attrs["rope"], op.weights)]
        k_type, v_type = kv_types(self.params.kv_type)
        try:
            self.program.add_attention(
                group=self.plan.group_of(layer), k_type=k_type, v_type=v_type, n_head=n_head, n_head_kv=n_head_kv,
                head_dim_k=head_dim_k, head_dim_v=head_dim_v, window=attrs["window"], causal=attrs["causal"],
                scale=attrs["scale"], softcap=attrs["softcap"], k_cache=self.kv[layer][0], v_cache=self.kv[layer][1],
                q=self._rows(q), k=self._rows(k), v=self._rows(v),
                q_rot=(self.start["q_rot", index], n_head * head_dim_k) if rope is not None else None,
                out=self._rows(op.outputs[0]), rope=rope, partial=self.partial,
            )  # fmt: skip
        except ValueError as error:  # more heads or longer ones than the kernels have room for
            raise GraphError(f"blk.{layer}: the CPU backend cannot attend: {error}") from error

    def _add_short_conv(self, op: Node, index: int) -> None:
        weight = self.tensors[op.weights[0]]
        n_channel, n_tap = weight.shape
        x, y = self._rows(op.inputs[0]), self._rows(op.outputs[0])
        w = floats(self.tensors, weight.name)
        self.program.add_short_conv(n_channel, w, n_tap, self.states[op.attrs["state"]], x, y)


_ROWWISE = (*_QUANTIZES_ITSELF, "take_rows")


def _rope_key(attrs: Mapping[str, Any], weights: tuple[str, ...]) -> tuple[Any, ...]:
    return (attrs["dims"], attrs["base"], attrs["style"], attrs["scaling"], weights)
