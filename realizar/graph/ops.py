"""The op set: one row per op, with all facts that passes, plans, backends and estimates need."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from realizar.graph import facts, shapes
from realizar.graph.definitions import DEFINITIONS, Definition
from realizar.graph.facts import INPUTS
from realizar.graph.operands import OPERANDS, Operands
from realizar.graph.shapes import Attrs, Shape, ShapeRule

if TYPE_CHECKING:
    from realizar.graph.values import Node

__all__ = ["INPUTS", "OPS", "OpSpec", "RowDefinition", "Shape", "inputs_of", "n_axes_of"]

F32 = npt.NDArray[np.float32]
RowDefinition = Callable[["list[F32]", "list[F32]", Attrs, "F32 | None"], Sequence[F32]]


@dataclass(frozen=True)
class OpSpec:
    """One row of the op set.

    A plugin sets `name`, `formula`, `attrs`, `shape`, `define` and, where they differ from the default, `inputs`,
    `rowwise` and `uses`. The other facts describe built-in ops.

    Attributes
    ----------
    name : str
    formula : str
        Human-readable description of the computation.
    attrs : tuple[str, ...]
        The attributes that a node of this op carries.
    shape : callable
        (input shapes, weight shapes, attributes) -> output shapes, all without the leading token dimension; raises
        GraphError if the shapes do not fit.
    inputs : tuple[str, ...]
        Names of the inputs; one that ends with "?" may be missing.
    rowwise : bool
        Whether a row of the output depends on no other row of the inputs, so that rows can be dropped before it: on
        that row and its position. False for an op that has a state or no input, and for attention, although passes
        also drop rows before attention that stores no keys and values.
    uses : callable
        (input shapes, weight shapes, attributes) -> a `WeightUse` for each weight: its cost, and what it multiplies.
    define : callable | None
        The numpy definition of an op that a plugin provides: (inputs float32 [1, *shape], weights float32, attributes,
        state float32 [*shape] or None) -> outputs float32 [1, *shape]. It is called for one row at a time, in order of
        position; `state` is zero before position 0 and is updated in place. None for built-in ops.
    evaluate : callable | None
        The numpy definition of a built-in op, over all rows of a sequence (`graph.definitions`).
    operands : callable | None
        The rows that its matrices are multiplied with (`graph.operands`); None for ops without matrices.
    reads : callable
        attributes -> which of `INPUTS` it reads.
    scratch : callable
        (input shapes, weight shapes, attributes) -> scratch memory for each token while the op runs.
    rotation : callable
        attributes -> those of the rotary embedding that the op applies, or None.
    kv_shape : callable | None
        (input shapes, attributes) -> n_head_kv, head_dim and head_dim_v, for ops that attend or write the cache.
    attends : bool
        Whether its first input is a query that attends to keys and values.
    writes_cache : bool
        Whether it writes keys and values to the KV cache; attention does if it has `k`, `v` and a `cache`.
    scores_keys : bool
        Whether it computes a score for each key of a sequence.
    is_view : bool
        Whether its outputs are parts of its input's memory: nothing is computed.
    is_lookup : bool
        Whether it takes rows of a table, its only weight, by the token, its id or the position (its attribute `by`).
    is_override : bool
        Whether the caller of a step passes its output in.
    selects_rows : bool
        Whether its output has a row for each row of the step that is an output, and not for every row.
    in_place : bool
        Whether its outputs are its last inputs, changed in their memory; no other op may read these inputs.
    pools : bool
        Whether its output depends on all rows of a sequence, which must then be in one step.
    over_last : bool
        Whether it works on the last dimension of its input by itself, and not on all elements of a row.
    quantizes_output : bool
        Whether it works on one row at a time, so that a backend can quantize its result while it is written.
    takes_scale : bool
        Whether the builder multiplies its result by the scale that a file has for the weight.
    takes_expert_scales : bool
        Whether it multiplies the products of each expert by the scale that a file has for it.
    takes_rotation : bool
        Whether the builder rotates what it multiplies, or its result, if a file stores the weight in a rotated basis.
    rotates_input : bool
        Whether its result takes the place of its input in products with weights in a rotated basis.
    """

    name: str
    formula: str
    attrs: tuple[str, ...]
    shape: ShapeRule
    inputs: tuple[str, ...] = ("x",)
    rowwise: bool = True
    uses: facts.UseRule = facts.read_whole
    define: RowDefinition | None = None
    evaluate: Definition | None = None
    operands: Operands | None = None
    reads: facts.ReadsRule = facts.reads_nothing
    scratch: facts.ScratchRule = facts.no_scratch
    rotation: facts.RotationRule = facts.no_rotation
    kv_shape: facts.KVShapeRule | None = None
    attends: bool = False
    writes_cache: bool = False
    scores_keys: bool = False
    is_view: bool = False
    is_lookup: bool = False
    is_override: bool = False
    selects_rows: bool = False
    in_place: bool = False
    pools: bool = False
    over_last: bool = False
    quantizes_output: bool = False
    takes_scale: bool = False
    takes_expert_scales: bool = False
    takes_rotation: bool = False
    rotates_input: bool = False


def inputs_of(nodes: Iterable[Node]) -> tuple[str, ...]:
    """Which of `INPUTS` these nodes read."""
    read = {name for node in nodes for name in node.spec.reads(node.attrs)}
    return tuple(name for name in INPUTS if name in read)


def n_axes_of(nodes: Iterable[Node]) -> int:
    """Axes of positions by which these nodes rotate; 1 where positions are plain numbers."""
    rotations = (node.spec.rotation(node.attrs) for node in nodes)
    return max((1 + max(rope["axes"]) for rope in rotations if rope and rope["axes"]), default=1)


def _elementwise(name: str, formula: str, inputs: tuple[str, ...] = ("x",), **facts: Any) -> OpSpec:
    rule = {"shape": shapes.first if len(inputs) == 1 else shapes.same, "attrs": (), **facts}
    return OpSpec(name, formula, inputs=inputs, quantizes_output=True, **rule)


def _rows() -> Iterable[OpSpec]:
    yield OpSpec(
        "embed", "y[t] = scale * W[token[t]] or the row's embedding; scale * W[id[t]]; W[position[t]]; of types, W[0]",
        ("by", "scale"), shapes.embed, inputs=(), rowwise=False, reads=facts.embed_reads, uses=facts.embed_uses,
        is_lookup=True, takes_rotation=True,
    )  # fmt: skip
    yield OpSpec(
        "position_scale", "s[t] = 1 + factor * ln(1 + floor((position[t] + offset) / period))",
        ("factor", "period", "offset"), shapes.position_scale, inputs=(), rowwise=False, reads=facts.positions_read,
    )  # fmt: skip
    yield OpSpec("linear", "y = W x + b (+ residual), for each of the weights", ("bias", "residual"), shapes.linear,
                 inputs=("x", "residual?"), uses=facts.linear_uses, takes_scale=True, takes_rotation=True)  # fmt: skip
    yield from _elementwise_rows()
    yield from _view_rows()
    yield from _attention_rows()
    yield from _recurrent_rows()
    yield from _expert_rows()
    yield OpSpec("slice", "y[h, d] = x[h, start + d]", ("start", "size"), shapes.slice_)
    yield OpSpec("concat", "y[h] = a[h], then b[h]", (), shapes.concat, inputs=("a", "b"))
    yield OpSpec(
        "per_head_linear", "y[h] = W[h] x[h], a matrix for each head", ("rows", "transposed"), shapes.per_head_linear,
        uses=facts.per_head_linear_uses, scratch=facts.per_head_linear_scratch,
    )  # fmt: skip
    yield from _adapter_rows()
    yield OpSpec("override", "y[t] = the row that the caller of the step passes in", (), shapes.first, inputs=(),
                 rowwise=False, is_override=True)  # fmt: skip
    yield OpSpec("gather_rows", "y[m] = x[outputs[m]]", (), shapes.first, rowwise=False, selects_rows=True)
    pool: dict[str, Any] = {"shape": shapes.first, "rowwise": False, "selects_rows": True, "pools": True}
    yield OpSpec("pool_first", "y[m] = x[first row of the sequence of outputs[m]]", (), **pool)
    yield OpSpec("pool_mean", "y[m] = mean of the rows of the sequence of outputs[m]", (), **pool)


def _elementwise_rows() -> Iterable[OpSpec]:
    norm: dict[str, Any] = {"attrs": ("eps",), "shape": shapes.norm, "over_last": True}
    gated = ("gate", "up")
    yield _elementwise("rms_norm", "y = x / sqrt(mean(x^2) + eps) * w + b", **norm)
    yield _elementwise("layer_norm", "y = (x - mean) / sqrt(var + eps) * w + b", **norm)
    yield _elementwise("add", "y = a + b", ("a", "b"))
    yield _elementwise("mul", "y = a * b", ("a", "b"))
    yield _elementwise("mul_weight", "y = x * w", shape=shapes.mul_weight, over_last=True)
    yield _elementwise(
        "hadamard",
        "y = H (s * x) / sqrt(width), or inverse s * H x / sqrt(width), in blocks",
        attrs=("width", "inverse"),
        shape=shapes.hadamard,
        rotates_input=True,
    )
    yield _elementwise("scale", "y = x * factor", attrs=("factor",))
    yield _elementwise("scale_rows", "y[t] = s[t] * x[t]", ("x", "s"), shape=shapes.scale_rows)
    yield _elementwise("scale_heads", "y[h] = s[h] * x[h]", ("x", "s"), shape=shapes.scale_heads, over_last=True)
    yield _elementwise("clamp", "y = min(max(x, -limit), limit)", attrs=("limit",))
    yield _elementwise("softcap", "y = cap * tanh(x / cap)", attrs=("cap",))
    yield _elementwise("silu", "y = x / (1 + exp(-x))")
    yield _elementwise("gelu", "y = x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3)))")
    yield _elementwise("gelu_erf", "y = x / 2 * (1 + erf(x / sqrt(2)))")
    yield _elementwise("sigmoid", "y = 1 / (1 + exp(-x))")
    yield _elementwise("relu", "y = max(x, 0)")
    yield _elementwise("softplus", "y = ln(1 + exp(x))")
    yield _elementwise("elu", "y = x if x > 0 else exp(x) - 1")
    yield _elementwise("softmax", "y = exp(x) / sum(exp(x)) over the last dimension", over_last=True)
    yield _elementwise("swiglu", "y = silu(gate) * up", gated)
    yield _elementwise("geglu", "y = gelu(gate) * up", gated)
    yield _elementwise("geglu_erf", "y = gelu_erf(gate) * up", gated)


def _view_rows() -> Iterable[OpSpec]:
    yield OpSpec("reshape", "the same numbers in another shape", ("shape",), shapes.reshape, is_view=True)
    yield OpSpec("split", "y_j = consecutive slices of x", ("sizes",), shapes.split, is_view=True)


def _attention_rows() -> Iterable[OpSpec]:
    yield OpSpec(
        "rope", "rotates pairs of the first dims elements by position[axis] * inv_freq",
        ("dims", "base", "style", "scaling", "axes"), shapes.rope,
        reads=facts.positions_read, rotation=lambda attrs: attrs,
    )  # fmt: skip
    yield OpSpec(
        "attention", "softmax(scale * q k^T + bias + mask) v over the cached keys and values",
        ("cache", "shape", "scale", "window", "softcap", "causal", "buckets", "alibi", "sinks", "chunked", "skip",
         "spans", "rope"),
        shapes.attention, inputs=("q", "k?", "v?"), rowwise=False,
        reads=lambda attrs: () if attrs["rope"] is None else ("positions",),
        scratch=facts.attention_scratch, rotation=lambda attrs: attrs["rope"], kv_shape=facts.kv_of_attention,
        attends=True, writes_cache=True,
    )  # fmt: skip
    yield OpSpec(
        "mla_attention", "softmax(scale * q k^T) v over the chosen keys or all, v the first elements of k",
        ("cache", "shape", "scale"), shapes.mla_attention, inputs=("q", "k", "chosen?"), rowwise=False,
        kv_shape=facts.kv_of_attrs, attends=True, writes_cache=True,
    )  # fmt: skip
    yield OpSpec(
        "choose_keys", "the keys s with the n_keys greatest sum_h w_h relu(q_h k[s]), ascending, then -1",
        ("cache", "shape", "n_keys"), shapes.choose_keys, inputs=("q", "k", "weights"), rowwise=False,
        kv_shape=facts.kv_of_attrs, writes_cache=True, scores_keys=True,
    )  # fmt: skip
    yield OpSpec(
        "cross_store", "caches the keys and values of the encoder input", ("cache", "shape"), shapes.cross_store,
        inputs=("k", "v"), rowwise=False, kv_shape=facts.kv_of_attrs, writes_cache=True,
    )  # fmt: skip
    yield OpSpec(
        "cross_attention", "softmax(scale * q k^T) v over the keys and values of cross_store",
        ("cache", "shape", "scale"), shapes.cross_attention, inputs=("q",), rowwise=False,
        reads=lambda attrs: ("encoder",), kv_shape=facts.kv_of_attrs, attends=True,
    )  # fmt: skip


def _recurrent_rows() -> Iterable[OpSpec]:
    yield OpSpec("causal_conv1d", "y[t, c] = act(sum_j w[c, j] x[t - n_tap + 1 + j, c] + bias[c])",
                 ("state", "bias", "activation"), shapes.causal_conv1d, rowwise=False)  # fmt: skip
    yield OpSpec("token_shift", "y_j[t] = x[t] + w_j * (x[t - 1] - x[t]) for each row w_j of W, one after another",
                 ("state",), shapes.token_shift, rowwise=False)  # fmt: skip
    yield OpSpec("selective_scan", "h[t] = exp(dt a) h[t - 1] + dt x b, y[t] = c h[t] + d x, dt = softplus(dt + bias)",
                 ("state", "n_state"), shapes.selective_scan, inputs=("x", "dt", "b", "c"), rowwise=False)  # fmt: skip
    yield OpSpec("decay", "y = exp(a softplus(x + bias)), with a bound exp(bound sigmoid(a (x + bias)))", ("bound",),
                 shapes.decay)  # fmt: skip
    yield OpSpec("delta_rule", "S[t] = S' + u k^T, S' = S[t - 1] diag(decay), u = beta (v - S' k), y[t] = S[t] q",
                 ("state", "shape", "tiled"), shapes.delta_rule, inputs=("q", "k", "v", "decay", "beta"),
                 rowwise=False)  # fmt: skip
    yield OpSpec("generalized_delta_rule", "S[t] = S[t - 1] diag(decay) + (S[t - 1] a) b^T + v k^T, y[t] = S[t] q",
                 ("state", "shape"), shapes.generalized_delta_rule, inputs=("q", "k", "v", "decay", "a", "b"),
                 rowwise=False)  # fmt: skip


def _expert_rows() -> Iterable[OpSpec]:
    yield OpSpec("choose_experts", "id_r = the r-th greatest of gating(x) + b, of the best groups",
                 ("n_used", "gating", "n_group", "n_group_used", "n_group_best"), shapes.choose_experts,
                 inputs=("logits",))  # fmt: skip
    yield OpSpec("weigh_experts", "w_r = scale * gating(x)[id_r] (/ sum over r) (* s[id_r])",
                 ("gating", "normalize", "scale"), shapes.weigh_experts, inputs=("logits", "ids"))  # fmt: skip
    yield OpSpec("experts", "y = sum_r w_r down_e (act(gate_e x) * up_e x), or w_r down_e act(up_e x), e = id_r",
                 ("activation", "bias", "scales", "limit", "targets", "max_rank"), shapes.experts,
                 inputs=("x", "ids", "weights"), uses=facts.expert_uses, scratch=facts.expert_scratch,
                 takes_expert_scales=True)  # fmt: skip


def _adapter_rows() -> Iterable[OpSpec]:
    """Ops that passes add for the adapters of a sequence; no architecture records them."""
    yield OpSpec("low_rank", "z_j = y_j + sum over the adapters of B_j (scale * A_j x), in place of y_j",
                 ("targets", "max_rank"), shapes.low_rank, inputs=("x", "y"), scratch=facts.low_rank_scratch,
                 in_place=True)  # fmt: skip
    yield OpSpec("low_rank_embed", "z = y + sum over the adapters of s * B (scale * A[token]), in place of y",
                 ("target", "max_rank", "scale", "by"), shapes.first, inputs=("y",), reads=facts.embed_reads,
                 scratch=facts.low_rank_embed_scratch, in_place=True)  # fmt: skip
    yield OpSpec("control_vector", "z = y + sum over the control vectors of scale * v, in place of y", ("place",),
                 shapes.first, inputs=("y",), in_place=True)  # fmt: skip


OPS: dict[str, OpSpec] = {
    op.name: replace(op, evaluate=DEFINITIONS.get(op.name), operands=OPERANDS.get(op.name)) for op in _rows()
}
"""The built-in ops by name. A node has the row of its op, built in or of a plugin: `Node.spec`."""
