"""bind(plan): compiles a plan for the CPU: assigns memory, and appends the kernels of its ops to programs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from realizar._kernels.kv import BIAS_PAD
from realizar._kernels.plan import Pool, Program
from realizar._kernels.plan_attention import add_attention, add_choose_keys, add_kv_store
from realizar._kernels.plan_experts import add_experts, add_route
from realizar._kernels.plan_heads import add_copy_heads, add_per_head_linear
from realizar._kernels.plan_recurrent import (
    add_causal_conv1d,
    add_delta_rule,
    add_generalized_delta_rule,
    add_selective_scan,
    add_token_shift,
)
from realizar.backends.cpu.adapters import AdapterSlots
from realizar.backends.cpu.chains import ROW_OPS
from realizar.backends.cpu.compiled import CompiledPlan, Rows
from realizar.backends.cpu.layout import floats, heads_of, of_experts
from realizar.backends.cpu.memory_plan import BindParams, MemoryPlan, kv_shape, rope_key, step_kv
from realizar.backends.cpu.numpy_op import NumpyOp
from realizar.errors import GraphError
from realizar.graph import Node
from realizar.graph.ops import OPS
from realizar.graph.position import position_bias, position_scales
from realizar.params import kv_types
from realizar.runtime.batch_checks import UNLIMITED, limits_of
from realizar.runtime.plan import Plan
from realizar.runtime.weights import Tensor

Array = npt.NDArray[Any]
KV = Mapping[str, tuple[npt.NDArray[Any], npt.NDArray[Any]]]


def bind(
    plan: Plan, tensors: Mapping[str, Tensor], pool: Pool, params: BindParams, kv: KV,
    states: Mapping[str, npt.NDArray[np.float32]], slots: AdapterSlots | None = None,
) -> CompiledPlan:  # fmt: skip
    """Compile a plan for the CPU.

    Parameters
    ----------
    plan : Plan
    tensors : dict[str, Tensor]
        By GGUF name.
    pool : Pool
        Worker threads.
    params : BindParams
    kv : dict
        Cache.key -> (K, V), each uint8 [n_blocks, n_head_kv, kv_bytes(its type, its head_dim)].
    states : dict
        State.key -> float32 [n_slots, *shape].
    slots : AdapterSlots, optional
        The adapters of all programs that share them.

    Raises
    ------
    GraphError
        If this backend lacks an op of the plan, or the attention heads are too large for it.
    ParameterError
        As `limits_of`.
    """
    slots = AdapterSlots(params.adapters) if slots is None else slots
    return _Binder(plan, tensors, pool, params, kv, states, slots).bind()


class _Binder:
    """The state of one call of `bind`."""

    def __init__(
        self, plan: Plan, tensors: Mapping[str, Tensor], pool: Pool, params: BindParams, kv: KV,
        states: Mapping[str, npt.NDArray[np.float32]], slots: AdapterSlots,
    ) -> None:  # fmt: skip
        self.plan, self.tensors, self.params, self.kv, self.states = plan, tensors, params, kv, states
        self.slots = slots
        self.step_kv: dict[tuple[int, int, int], tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]] = {}
        self.biases: dict[Any, tuple[npt.NDArray[np.float32], int] | None] = {}
        self.overrides: dict[str, Rows] = {}
        self.pool, self.mem = pool, MemoryPlan(plan, tensors, params, pool.n_threads)
        self.steps: list[Program | NumpyOp] = []
        self._begin_program()

    def _begin_program(self) -> None:
        """Begin a new program, to which ops are appended from now on; it computes the rope tables that they read."""
        self.program = Program(self.pool, self.mem.arena, self.params.n_batch, self.params.isa, self.params.activations)
        self.steps.append(self.program)
        for rope in self.mem.ropes.values():
            self.program.add_rope_table(rope)

    def bind(self) -> CompiledPlan:
        """Append all ops to programs; a plugin's op that runs in numpy begins a new one."""
        for index, op in enumerate(self.plan.ops):
            n_before = self.program.n_ops
            if op.op in _ADD:
                _ADD[op.op](self, op, index)
            elif op.spec.define is not None:
                self.steps.append(self._numpy_op(op))
                self._begin_program()
            else:
                raise GraphError(f"op {op.op!r} has no kernel in the CPU backend and no numpy definition")
            self._add_quantize(op, index)
            if op.op in ROW_OPS:
                self.program.join(n_before if self.mem.chains[index][0] < index else n_before + 1)
        rows = {name: self.mem.rows(i) for name, i in self.plan.outputs.items()}
        groups = [group.layers for group in self.plan.cache_groups]  # a stage of a plan may have none of a group
        limits = limits_of(
            self.plan, self.tensors, self.params.n_ctx,
            n_slots=min(map(len, self.states.values()), default=0),
            n_blocks=tuple(len(self.kv[layers[0].key][0]) if layers else UNLIMITED for layers in groups),
            n_keys=self.params.n_ctx if any(self.biases.values()) or self.mem.scores[1] else UNLIMITED,
            n_positions=self.params.n_ctx if any(op.op == "position_scale" for op in self.plan.ops) else UNLIMITED,
        )  # fmt: skip
        return CompiledPlan(
            self.plan, self.steps, self.mem.arena, rows, self.overrides, limits, self.slots, self.mem.lent
        )

    def _numpy_op(self, op: Node) -> NumpyOp:
        """Return an op without a kernel as a separate step; outputs that no op reads are not in the arena."""
        rows = {i: self.mem.rows(i) for i in (*op.inputs, *op.outputs) if self.plan.views[i].root in self.mem.start}
        weights = [self.tensors[name].floats() for name in op.weights]
        return NumpyOp(self.plan, op, self.mem.arena, rows, weights, self.states)

    def _add_quantize(self, op: Node, index: int) -> None:
        """Append ops that quantize the outputs of an op whose kernel cannot do it itself, once these are final."""
        roots = {self.plan.views[i].root for i in op.outputs}
        for i in sorted({i for i, _ in self.mem.act_rows}):
            view = self.plan.views[i]
            if view.root in roots and self.mem.written[view.root] == index and not self.mem.can_quantize(i):
                self.program.add_rowwise("quantize", view.n, m_rows=view.m_rows, x=self.mem.rows(i),
                                         act32=self.mem.act_row(i, 32), act256=self.mem.act_row(i, 256))  # fmt: skip

    def _add_rowwise(self, op: Node, index: int) -> None:
        (y,) = op.outputs
        n = self.plan.shapes[y][-1] if op.spec.over_last else self.plan.views[y].n
        w = [floats(self.tensors, name) for name in op.weights]
        w = [np.repeat(x, n) if len(x) == 1 else x for x in w]  # one number is for all elements
        scalar = op.attrs.get("eps", op.attrs.get("factor", op.attrs.get("cap", op.attrs.get("limit", 0.0))))
        self._rowwise(op, n, scalar, *w)

    def _add_hadamard(self, op: Node, index: int) -> None:
        signs = floats(self.tensors, op.weights[0]) if op.weights else None
        before_after = (None, signs) if op.attrs["inverse"] else (signs, None)
        self._rowwise(op, op.attrs["width"], op.attrs["width"] ** -0.5, *before_after)

    def _rowwise(self, op: Node, n: int, scalar: float, w: Array | None = None, b: Array | None = None) -> None:
        """Append an op on groups of n elements; w and b are for a group or for all elements."""
        (y,) = op.outputs
        view, quantizes = self.plan.views[y], self.mem.can_quantize(y)
        self.program.add_rowwise(
            _KERNELS.get(op.op, op.op), n, n_repeat=view.n // n, m_rows=view.m_rows,
            x=self.mem.rows(op.inputs[0]),
            x2=self.mem.rows(op.inputs[1]) if len(op.inputs) > 1 else None,
            y=self.mem.rows(y) if y in self.mem.materialised else None,
            scalar=scalar, w=w, b=b,
            act32=self.mem.act_row(y, 32) if quantizes else None,
            act256=self.mem.act_row(y, 256) if quantizes else None,
        )  # fmt: skip

    def _add_embed(self, op: Node, index: int) -> None:
        table = self.tensors[op.weights[0]]
        self.program.add_embed(table.type, table.data, table.shape[-1], self.mem.rows(op.outputs[0]), op.attrs["by"],
                               op.attrs["scale"])  # fmt: skip

    def _add_position_scale(self, op: Node, index: int) -> None:
        """A look-up in a table of all positions, whose rows are one number."""
        table = position_scales(op.attrs, np.arange(self.params.n_ctx))[:, None]
        self.program.add_embed("F32", table.view(np.uint8), 1, self.mem.rows(op.outputs[0]), "position")

    def _add_linear(self, op: Node, index: int) -> None:
        x = op.inputs[0]
        weights = [
            (self.tensors[name].type, self.tensors[name].data,
             None if bias is None else floats(self.tensors, bias), self.mem.rows(y))
            for name, bias, y in zip(op.weights, op.attrs["bias"], op.outputs, strict=True)
        ]  # fmt: skip
        self.program.add_linear(
            self.plan.views[x].n, weights, m_rows=self.plan.views[x].m_rows,
            x=self.mem.rows(x) if self.plan.views[x].root in self.mem.materialised else None,
            act32=self.mem.act_row(x, 32), act256=self.mem.act_row(x, 256),
            residual=self.mem.rows(op.inputs[1]) if op.attrs["residual"] else None,
        )  # fmt: skip

    def _add_rope(self, op: Node, index: int) -> None:
        n_head, head_dim = self.plan.shapes[op.inputs[0]]
        self.program.add_rope(head_dim, n_head, self.mem.rows(op.inputs[0]), self.mem.rows(op.outputs[0]),
                              self.mem.ropes[rope_key(op.attrs, op.weights)],
                              m_rows=self.plan.views[op.outputs[0]].m_rows)  # fmt: skip

    def _add_attention(self, op: Node, index: int) -> None:
        (q, *kv), attrs = op.inputs, op.attrs
        k, v = (self.mem.rows(i) for i in kv) if kv else (None, None)
        rope = None if attrs["rope"] is None else self.mem.ropes[rope_key(attrs["rope"], attrs["rope"]["factors"])]
        n_head, head_dim = self.plan.shapes[q]
        self._attend(
            op, window=attrs["window"], causal=attrs["causal"], softcap=attrs["softcap"], chunked=attrs["chunked"],
            skip=attrs["skip"], spans=attrs["spans"], k=k, v=v, rope=rope, bias=self._bias(op, n_head),
            sinks=None if attrs["sinks"] is None else floats(self.tensors, attrs["sinks"]),
            q_rot=(self.mem.start["q_rot", index], n_head * head_dim) if rope is not None else None,
        )  # fmt: skip

    def _add_cross_store(self, op: Node, index: int) -> None:
        k, v = op.inputs
        add_kv_store(self.program, self._cache(op), self.mem.rows(k), self.mem.rows(v))

    def _add_cross_attention(self, op: Node, index: int) -> None:
        self._attend(op, window=0, causal=False, softcap=0.0, cross=True)

    def _add_mla_attention(self, op: Node, index: int) -> None:
        _, k, *chosen = op.inputs
        keys = (self.mem.rows(chosen[0]), self.plan.views[chosen[0]].n) if chosen else None
        self._attend(op, window=0, causal=True, softcap=0.0, k=self.mem.rows(k), chosen=keys)

    def _add_choose_keys(self, op: Node, index: int) -> None:
        q, k, weights = (self.mem.rows(i) for i in op.inputs)
        add_choose_keys(
            self.program, cache=self._cache(op), n_head=self.plan.shapes[op.inputs[0]][0], n_keys=op.attrs["n_keys"],
            n_ctx=self.mem.n_scored, scores=self.mem.scores, q=q, k=k, weights=weights,
            out=self.mem.rows(op.outputs[0]),
        )  # fmt: skip

    def _attend(self, op: Node, **how: Any) -> None:
        try:
            add_attention(
                self.program, cache=self._cache(op), n_head=self.plan.shapes[op.inputs[0]][0], scale=op.attrs["scale"],
                q=self.mem.rows(op.inputs[0]), out=self.mem.rows(op.outputs[0]), partial=self.mem.partial,
                m_rows=self.plan.views[op.outputs[0]].m_rows, **how,
            )  # fmt: skip
        except ValueError as error:  # too many or too large heads for the kernels
            raise GraphError(
                f"{self.plan.names[op.outputs[0]]}: attention is too large for the CPU backend: {error}"
            ) from error

    def _cache(self, op: Node) -> tuple[int | None, str, str, int, int, int, Array, Array]:
        """Return the KV cache of an op; ops without a cache share one temporary buffer for the K and V of a step."""
        shape = kv_shape(self.plan, op)
        if op.attrs["cache"] is None:  # f32: they stay in the CPU's caches, so f16 would only add conversions
            if shape not in self.step_kv:
                self.step_kv[shape] = step_kv(self.params.n_batch, shape)
            return (None, "f32", "f32", *shape, *self.step_kv[shape])
        group, _ = self.plan.cache(op.attrs["cache"])
        return (group, *kv_types(self.params.kv_type), *shape, *self.kv[op.attrs["cache"]])

    def _bias(self, op: Node, n_head: int) -> tuple[npt.NDArray[np.float32], int] | None:
        """Return the relative position biases for all distances in the context, and the column of distance 0."""
        key = (op.attrs["buckets"], op.attrs["alibi"], op.attrs["causal"], n_head)
        if key not in self.biases:
            n = self.params.n_ctx
            table = None if op.attrs["buckets"] is None else self.tensors[op.attrs["buckets"]].floats()
            bias = position_bias(op.attrs, table, n_head, n)
            self.biases[key] = None if bias is None else (np.pad(bias, ((0, 0), (0, BIAS_PAD))), n - 1)
        return self.biases[key]

    def _add_slice(self, op: Node, index: int) -> None:
        (offset, ld), (n_head, dim) = self.mem.rows(op.inputs[0]), self.plan.shapes[op.inputs[0]]
        self._copy_heads(op, n_head, op.attrs["size"], (offset + 4 * op.attrs["start"], ld), dim, 0)

    def _add_concat(self, op: Node, index: int) -> None:
        done = 0
        for i in op.inputs:
            n_head, dim = self.plan.shapes[i]
            self._copy_heads(op, n_head, dim, self.mem.rows(i), dim, done)
            done += dim

    def _copy_heads(self, op: Node, n_head: int, n: int, x: Rows, x_step: int, start: int) -> None:
        """Copy n elements of each head to element `start` of the heads of the result."""
        (y,) = op.outputs
        offset, ld = self.mem.rows(y)
        add_copy_heads(
            self.program, n, n_head, x, x_step, (offset + 4 * start, ld), self.plan.shapes[y][1],
            m_rows=self.plan.views[y].m_rows,
        )  # fmt: skip

    def _add_per_head_linear(self, op: Node, index: int) -> None:
        (x,), (y,) = op.inputs, op.outputs
        n_head, k = self.plan.shapes[x]
        kind, data = heads_of(self.tensors[op.weights[0]], n_head, op.attrs["rows"], op.attrs["transposed"])
        add_per_head_linear(
            self.program, k, kind, data, self.mem.rows(x), self.mem.rows(y), self.mem.scratch_of(index).get("x"),
            m_rows=self.plan.views[y].m_rows,
        )  # fmt: skip

    def _add_causal_conv1d(self, op: Node, index: int) -> None:
        weight = self.tensors[op.weights[0]]
        (bias,) = op.attrs["bias"]
        add_causal_conv1d(
            self.program, np.ascontiguousarray(weight.floats().T), None if bias is None else floats(self.tensors, bias),
            self.states[op.attrs["state"]], self.mem.rows(op.inputs[0]), self.mem.rows(op.outputs[0]),
            op.attrs["activation"] == "silu",
        )  # fmt: skip

    def _add_token_shift(self, op: Node, index: int) -> None:
        w = floats(self.tensors, op.weights[0]).reshape(-1, self.plan.views[op.inputs[0]].n)
        add_token_shift(
            self.program, w, self.states[op.attrs["state"]], self.mem.rows(op.inputs[0]), self.mem.rows(op.outputs[0])
        )

    def _add_selective_scan(self, op: Node, index: int) -> None:
        n_head = self.plan.views[op.inputs[1]].n
        d, *bias = (floats(self.tensors, name) for name in op.weights[1:])
        add_selective_scan(
            self.program, n_head, self.plan.views[op.inputs[2]].n // op.attrs["n_state"],
            self.tensors[op.weights[0]].floats(), d, bias[0] if bias else None, self.states[op.attrs["state"]],
            *(self.mem.rows(i) for i in (*op.inputs, *op.outputs)),
        )  # fmt: skip

    def _add_decay(self, op: Node, index: int) -> None:
        (x,), (y,) = op.inputs, op.outputs
        view = self.plan.views[y]
        bias, *rest = (floats(self.tensors, name) for name in op.weights)
        a = rest[0] if rest else np.ones(1, np.float32)
        self.program.add_rowwise("decay", view.n, m_rows=view.m_rows, x=self.mem.rows(x), y=self.mem.rows(y),
                                 scalar=op.attrs["bound"], w=np.repeat(a, view.n // len(a)), b=bias)  # fmt: skip

    def _add_delta_rule(self, op: Node, index: int) -> None:
        (n_head, _, _), (n_head_k, _) = op.attrs["shape"], self.plan.shapes[op.inputs[1]]
        add_delta_rule(
            self.program, n_head_k, self.plan.views[op.inputs[3]].n > n_head, op.attrs["tiled"],
            self.states[op.attrs["state"]], *(self.mem.rows(i) for i in (*op.inputs, *op.outputs)),
        )  # fmt: skip

    def _add_generalized_delta_rule(self, op: Node, index: int) -> None:
        add_generalized_delta_rule(
            self.program, self.states[op.attrs["state"]], *(self.mem.rows(i) for i in (*op.inputs, *op.outputs))
        )

    def _add_override(self, op: Node, index: int) -> None:
        self.overrides[self.plan.names[op.outputs[0]]] = self.mem.rows(op.outputs[0])

    def _add_choose_experts(self, op: Node, index: int) -> None:
        self._add_route(op, self.plan.shapes[op.outputs[0]][0])

    def _add_weigh_experts(self, op: Node, index: int) -> None:
        self._add_route(op, self.plan.shapes[op.outputs[0]][0], ids=self.mem.rows(op.inputs[1]))

    def _add_route(self, op: Node, n_used: int, ids: Rows | None = None) -> None:
        (n_expert,) = self.plan.shapes[op.inputs[0]]
        add_route(
            self.program, n_expert, logits=self.mem.rows(op.inputs[0]), ids=ids, y=self.mem.rows(op.outputs[0]),
            per_expert=floats(self.tensors, op.weights[0]) if op.weights else None,
            m_rows=self.plan.views[op.outputs[0]].m_rows, **{"n_used": n_used, **op.attrs},
        )  # fmt: skip

    def _add_experts(self, op: Node, index: int) -> None:
        x, ids, weights = op.inputs
        n_expert, _, n_embd = self.tensors[op.weights[0]].shape
        attrs = zip(op.weights, op.attrs["bias"], op.attrs["scales"], strict=True)
        parts = [of_experts(self.tensors, *names) for names in attrs]
        named = list(zip(op.attrs["targets"], op.weights, strict=True)) if op.attrs["targets"] else []
        add_experts(
            self.program, n_expert, self.plan.shapes[ids][0], n_embd, op.attrs["activation"],
            gate=parts[0] if len(parts) == 3 else None, up=parts[-2], down=parts[-1], ids=self.mem.rows(ids),
            weights=self.mem.rows(weights), y=self.mem.rows(op.outputs[0]), room=self.mem.scratch_of(index),
            x=self.mem.rows(x) if self.plan.views[x].root in self.mem.materialised else None,
            act32=self.mem.act_row(x, 32), act256=self.mem.act_row(x, 256), m_rows=self.plan.views[x].m_rows,
            limit=op.attrs["limit"], max_rank=op.attrs["max_rank"],
            slots=self.slots.of_experts([(name, self.tensors[w].shape) for name, w in named]),
        )  # fmt: skip


_ROWWISE = tuple(name for name, spec in OPS.items() if spec.quantizes_output or spec.selects_rows)
_KERNELS = {"gather_rows": "take_rows", "mul_weight": "mul"}
"""Op -> name of its kernel, if that differs."""
_ADD: dict[str, Callable[[_Binder, Node, int], None]] = {
    **dict.fromkeys(_ROWWISE, _Binder._add_rowwise),
    "hadamard": _Binder._add_hadamard,
    "embed": _Binder._add_embed,
    "position_scale": _Binder._add_position_scale,
    "linear": _Binder._add_linear,
    "low_rank": lambda at, op, index: at.slots.add_low_rank(at.program, at.mem, op, index),
    "low_rank_embed": lambda at, op, index: at.slots.add_low_rank_embed(at.program, at.mem, op, index, at.tensors),
    "control_vector": lambda at, op, index: at.slots.add_control_vector(at.program, at.mem, op),
    "rope": _Binder._add_rope,
    "attention": _Binder._add_attention,
    "cross_store": _Binder._add_cross_store,
    "cross_attention": _Binder._add_cross_attention,
    "mla_attention": _Binder._add_mla_attention,
    "choose_keys": _Binder._add_choose_keys,
    "slice": _Binder._add_slice,
    "concat": _Binder._add_concat,
    "per_head_linear": _Binder._add_per_head_linear,
    "causal_conv1d": _Binder._add_causal_conv1d,
    "token_shift": _Binder._add_token_shift,
    "selective_scan": _Binder._add_selective_scan,
    "decay": _Binder._add_decay,
    "delta_rule": _Binder._add_delta_rule,
    "generalized_delta_rule": _Binder._add_generalized_delta_rule,
    "override": _Binder._add_override,
    "choose_experts": _Binder._add_choose_experts,
    "weigh_experts": _Binder._add_weigh_experts,
    "experts": _Binder._add_experts,
}
"""Op -> method that appends its kernels to the program."""
