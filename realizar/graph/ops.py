"""The op set: one row per op with its inputs, weights, attributes and shape rule."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any

from realizar.errors import GraphError
from realizar.graph.position import MAX_DISTANCE

if TYPE_CHECKING:
    from realizar.graph.values import Node

Shape = tuple[int, ...]
ShapeRule = Callable[[list[Shape], list[Shape], Mapping[str, Any]], list[Shape]]
ReadsRule = Callable[[Mapping[str, Any]], tuple[str, ...]]

INPUTS = ("tokens", "embeddings", "positions", "encoder")
"""What a program may read of a step: token ids, embeddings in place of tokens, positions, and the K and V that another
program computed of an encoder input."""


def _reads_nothing(attrs: Mapping[str, Any]) -> tuple[str, ...]:
    return ()


@dataclass(frozen=True)
class OpSpec:
    """One row of the op set.

    Attributes
    ----------
    name : str
    formula : str
        What it computes, for people; `graph.reference` is the definition.
    attrs : tuple[str, ...]
        The attributes that a node of this op carries.
    shape : callable
        (input shapes, weight shapes, attributes) -> output shapes, all without the leading token dimension.
    rowwise : bool
        Whether a row of the output depends on that row of the inputs alone, so that rows can be dropped before it.
        An op that reads the row's token or position is not: behind dropped rows it would read those of other rows.
    reads : callable
        attributes -> which of `INPUTS` it reads.
    """

    name: str
    formula: str
    attrs: tuple[str, ...]
    shape: ShapeRule
    rowwise: bool = True
    reads: ReadsRule = _reads_nothing


def _need(ok: bool, message: str) -> None:
    if not ok:
        raise GraphError(message)


def _embed(inputs: list[Shape], weights: list[Shape], attrs: Mapping[str, Any]) -> list[Shape]:
    return [weights[0][-1:]]


def _embed_reads(attrs: Mapping[str, Any]) -> tuple[str, ...]:
    return {"token": ("tokens", "embeddings"), "position": ("positions",), "type": ()}[attrs["by"]]


def _linear(inputs: list[Shape], weights: list[Shape], attrs: Mapping[str, Any]) -> list[Shape]:
    k = prod(inputs[0])
    for shape in weights:
        _need(len(shape) == 2 and shape[1] == k, f"linear: weight {shape} does not take an input of {k} elements")
    return [(shape[0],) for shape in weights]


def _norm(inputs: list[Shape], weights: list[Shape], attrs: Mapping[str, Any]) -> list[Shape]:
    for shape in weights:
        _need(shape in (inputs[0], inputs[0][-1:]), f"norm: weight {shape} for an input of shape {inputs[0]}")
    return [inputs[0]]


def _same(inputs: list[Shape], weights: list[Shape], attrs: Mapping[str, Any]) -> list[Shape]:
    _need(len(set(inputs)) == 1, f"elementwise op: shapes {inputs} differ")
    return [inputs[0]]


def _scale_rows(inputs: list[Shape], weights: list[Shape], attrs: Mapping[str, Any]) -> list[Shape]:
    _need(inputs[1] == (1,), f"scale_rows: one number for a row is needed, not {inputs[1]}")
    return [inputs[0]]


def _first(inputs: list[Shape], weights: list[Shape], attrs: Mapping[str, Any]) -> list[Shape]:
    return [inputs[0]]


def _reshape(inputs: list[Shape], weights: list[Shape], attrs: Mapping[str, Any]) -> list[Shape]:
    shape: Shape = attrs["shape"]
    _need(prod(shape) == prod(inputs[0]), f"reshape: {inputs[0]} has not as many elements as {shape}")
    return [shape]


def _split(inputs: list[Shape], weights: list[Shape], attrs: Mapping[str, Any]) -> list[Shape]:
    sizes: tuple[int, ...] = attrs["sizes"]
    _need(len(inputs[0]) == 1 and sum(sizes) == inputs[0][0], f"split: sizes {sizes} do not fill {inputs[0]}")
    return [(size,) for size in sizes]


def _rope(inputs: list[Shape], weights: list[Shape], attrs: Mapping[str, Any]) -> list[Shape]:
    dims = attrs["dims"]
    _need(len(inputs[0]) == 2 and 0 < dims <= inputs[0][1] and dims % 2 == 0,
          f"rope: {dims} rotated dimensions of heads of shape {inputs[0]}")  # fmt: skip
    _need(all(shape == (dims // 2,) for shape in weights), f"rope: factors {weights} for {dims} rotated dimensions")
    axes = attrs["axes"]
    _need(axes is None or (len(axes) == dims // 2 and min(axes) >= 0),
          f"rope: axes {axes} are not one for each of {dims // 2} frequencies")  # fmt: skip
    return [inputs[0]]


def _attention(inputs: list[Shape], weights: list[Shape], attrs: Mapping[str, Any]) -> list[Shape]:
    q, k, v = inputs[:3]
    _need(all(len(s) == 2 for s in (q, k, v)), f"attention: q, k, v must be (heads, head_dim), not {q}, {k}, {v}")
    _need(q[1] == k[1] and k[0] == v[0] and q[0] % k[0] == 0, f"attention: q {q}, k {k}, v {v} do not go together")
    if attrs["buckets"] is not None:
        _need(weights[0][1:] == q[:1], f"attention: buckets {weights[0]} do not have a column for each head of {q}")
        least = 2 if attrs["causal"] else 4  # half of each direction's are of one distance, the others of ever more
        _need(least <= weights[0][0] < least * MAX_DISTANCE,
              f"attention: {weights[0][0]} buckets; {least} to {least * MAX_DISTANCE - 1} can be made")  # fmt: skip
    if attrs["sinks"] is not None:
        _need(weights[-1] == q[:1], f"attention: sinks {weights[-1]} are not one for each head of {q}")
    return [(q[0] * v[1],)]


def _cross_store(inputs: list[Shape], weights: list[Shape], attrs: Mapping[str, Any]) -> list[Shape]:
    n_head_kv, head_dim, head_dim_v = attrs["shape"]
    _need(inputs == [(n_head_kv, head_dim), (n_head_kv, head_dim_v)],
          f"cross_store: k and v {inputs} for {n_head_kv} heads of {head_dim} and {head_dim_v}")  # fmt: skip
    return []


def _cross_attention(inputs: list[Shape], weights: list[Shape], attrs: Mapping[str, Any]) -> list[Shape]:
    n_head_kv, head_dim, head_dim_v = attrs["shape"]
    (q,) = inputs
    _need(len(q) == 2 and q[1] == head_dim and q[0] % n_head_kv == 0,
          f"cross_attention: q {q} does not go with {n_head_kv} heads of {head_dim}")  # fmt: skip
    return [(q[0] * head_dim_v,)]


def _causal_conv1d(inputs: list[Shape], weights: list[Shape], attrs: Mapping[str, Any]) -> list[Shape]:
    _need(weights[0][:1] == inputs[0], f"causal_conv1d: weight {weights[0]} for {inputs[0]} channels")
    return [inputs[0]]


def _choose_experts(inputs: list[Shape], weights: list[Shape], attrs: Mapping[str, Any]) -> list[Shape]:
    (n_expert,) = inputs[0]
    n_used, n_group, n_group_used = attrs["n_used"], attrs["n_group"], attrs["n_group_used"]
    _need(all(shape == (n_expert,) for shape in weights), f"choose_experts: bias {weights} for {n_expert} experts")
    _need(n_group > 0 and n_expert % n_group == 0, f"choose_experts: {n_expert} experts do not make {n_group} groups")
    per_group = n_expert // n_group
    _need(
        0 < n_group_used <= n_group and 0 < attrs["n_group_best"] <= per_group,
        f"choose_experts: {n_group_used} of {n_group} groups, by the best {attrs['n_group_best']} of {per_group}",
    )
    _need(0 < n_used <= n_group_used * per_group,
          f"choose_experts: {n_used} experts of the {n_group_used * per_group} that may be chosen")  # fmt: skip
    return [(n_used,)]


def _weigh_experts(inputs: list[Shape], weights: list[Shape], attrs: Mapping[str, Any]) -> list[Shape]:
    return [inputs[1]]


def _experts(inputs: list[Shape], weights: list[Shape], attrs: Mapping[str, Any]) -> list[Shape]:
    x, ids, w = inputs
    gate, up, down = weights
    n_expert, n_ff, n_embd = up if len(up) == 3 else (0, 0, 0)
    _need(gate == up and x == (n_embd,) and len(down) == 3 and down[::2] == (n_expert, n_ff) and ids == w,
          f"experts: gate {gate}, up {up}, down {down} for an input {x}, choice {ids}, weights {w}; "
          "(n_expert, n_ff, n_embd) twice and (n_expert, n_out, n_ff) are needed")  # fmt: skip
    return [down[1:2]]


def _selective_scan(inputs: list[Shape], weights: list[Shape], attrs: Mapping[str, Any]) -> list[Shape]:
    (n_channel,), (n_head,), b, c = inputs
    a, *rest = weights
    n_state: int = attrs["n_state"]
    _need(n_channel % n_head == 0, f"selective_scan: {n_channel} channels do not make {n_head} heads")
    _need(b == c and b[0] % n_state == 0 and n_head % (b[0] // n_state) == 0,
          f"selective_scan: b {b} and c {c} are no groups of {n_state} states that {n_head} heads share")  # fmt: skip
    alone = n_head == n_channel and b == (n_state,)
    _need(a == (n_head, 1) or (alone and a == (n_head, n_state)), f"selective_scan: a {a} for {n_head} heads")
    _need(all(prod(shape) == n_head for shape in rest), f"selective_scan: d and dt_bias {rest} for {n_head} heads")
    return [inputs[0]]


def _mla_attention(inputs: list[Shape], weights: list[Shape], attrs: Mapping[str, Any]) -> list[Shape]:
    q, k = inputs
    n_head_kv, head_dim, head_dim_v = attrs["shape"]
    _need(len(q) == 2 and k == (n_head_kv, head_dim) and q[1] == head_dim and q[0] % n_head_kv == 0,
          f"mla_attention: q {q} and k {k} do not go together")  # fmt: skip
    _need(0 < head_dim_v <= head_dim, f"mla_attention: values of {head_dim_v} elements out of keys of {head_dim}")
    return [(q[0] * head_dim_v,)]


def _slice(inputs: list[Shape], weights: list[Shape], attrs: Mapping[str, Any]) -> list[Shape]:
    (shape,), start, size = inputs, attrs["start"], attrs["size"]
    _need(len(shape) == 2 and 0 <= start < start + size <= shape[1],
          f"slice: elements {start} to {start + size} of heads of shape {shape}")  # fmt: skip
    return [(shape[0], size)]


def _concat(inputs: list[Shape], weights: list[Shape], attrs: Mapping[str, Any]) -> list[Shape]:
    a, b = inputs
    _need(len(a) == len(b) == 2 and a[0] == b[0], f"concat: {a} and {b} have not as many heads")
    return [(a[0], a[1] + b[1])]


def _per_head_linear(inputs: list[Shape], weights: list[Shape], attrs: Mapping[str, Any]) -> list[Shape]:
    n_head, k = inputs[0]
    n_row, n_col = matrix_of_a_head(weights[0], n_head)
    first, end = attrs["rows"] or (0, n_row)
    _need(0 <= first < end <= n_row, f"per_head_linear: rows {first} to {end} of the {n_row} of a head")
    n_in, n_out = (end - first, n_col) if attrs["transposed"] else (n_col, end - first)
    _need(k == n_in, f"per_head_linear: weight {weights[0]} does not take heads of {k} elements")
    return [(n_head, n_out)]


def matrix_of_a_head(shape: Shape, n_head: int) -> Shape:
    """(rows, columns) of each head's matrix in a weight of `per_head_linear`."""
    rows, columns = prod(shape[:-1]), shape[-1]
    _need(rows % n_head == 0, f"per_head_linear: weight {shape} has no rows for {n_head} heads")
    return rows // n_head, columns


_ROPE_ATTRS = ("dims", "base", "style", "scaling", "axes")


def inputs_of(nodes: Iterable[Node]) -> tuple[str, ...]:
    """Which of `INPUTS` these nodes read."""
    read = {name for node in nodes for name in OPS[node.op].reads(node.attrs)}
    return tuple(name for name in INPUTS if name in read)


def n_axes_of(nodes: Iterable[Node]) -> int:
    """Axes of positions by which these nodes rotate; 1 where positions are plain numbers."""
    ropes = (node.attrs if node.op == "rope" else node.attrs.get("rope") for node in nodes)
    return max((1 + max(rope["axes"]) for rope in ropes if rope and rope["axes"]), default=1)


OPS: dict[str, OpSpec] = {
    op.name: op
    for op in (
        OpSpec("embed", "y[t] = scale * W[token[t]] or the row's embedding; W[position[t]]; of token types, W[0]",
               ("by", "scale"), _embed, rowwise=False, reads=_embed_reads),
        OpSpec("linear", "y = W x + b (+ residual), for each of the weights", ("bias", "residual"), _linear),
        OpSpec("rms_norm", "y = x / sqrt(mean(x^2) + eps) * w + b", ("eps",), _norm),
        OpSpec("layer_norm", "y = (x - mean) / sqrt(var + eps) * w + b", ("eps",), _norm),
        OpSpec("add", "y = a + b", (), _same),
        OpSpec("mul", "y = a * b", (), _same),
        OpSpec("scale", "y = x * factor", ("factor",), _first),
        OpSpec("scale_rows", "y[t] = s[t] * x[t]", (), _scale_rows),
        OpSpec("softcap", "y = cap * tanh(x / cap)", ("cap",), _first),
        OpSpec("silu", "y = x / (1 + exp(-x))", (), _first),
        OpSpec("gelu", "y = x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3)))", (), _first),
        OpSpec("gelu_erf", "y = x / 2 * (1 + erf(x / sqrt(2)))", (), _first),
        OpSpec("sigmoid", "y = 1 / (1 + exp(-x))", (), _first),
        OpSpec("relu", "y = max(x, 0)", (), _first),
        OpSpec("swiglu", "y = silu(gate) * up", (), _same),
        OpSpec("geglu", "y = gelu(gate) * up", (), _same),
        OpSpec("geglu_erf", "y = gelu_erf(gate) * up", (), _same),
        OpSpec("reshape", "the same numbers in another shape", ("shape",), _reshape),
        OpSpec("split", "y_j = consecutive slices of x", ("sizes",), _split),
        OpSpec("rope", "rotates pairs of the first dims elements by position[axis] * inv_freq", _ROPE_ATTRS, _rope,
               rowwise=False, reads=lambda attrs: ("positions",)),
        OpSpec("attention", "softmax(scale * q k^T + bias + mask) v over the remembered keys and values",
               ("cache", "scale", "window", "softcap", "causal", "buckets", "alibi", "sinks", "rope"), _attention,
               rowwise=False, reads=lambda attrs: () if attrs["rope"] is None else ("positions",)),
        OpSpec("cross_store", "remembers K and V of the text that a sequence answers to", ("cache", "shape"),
               _cross_store, rowwise=False),
        OpSpec("cross_attention", "softmax(scale * q k^T) v over the keys and values of cross_store",
               ("cache", "shape", "scale"), _cross_attention, rowwise=False, reads=lambda attrs: ("encoder",)),
        OpSpec("causal_conv1d", "y[t, c] = sum_j w[c, j] x[t - n_tap + 1 + j, c] + bias[c]", ("state", "bias"),
               _causal_conv1d, rowwise=False),
        OpSpec("selective_scan", "h[t] = exp(dt a) h[t - 1] + dt x b, y[t] = c h[t] + d x, dt = softplus(dt + bias)",
               ("state", "n_state"), _selective_scan, rowwise=False),
        OpSpec("choose_experts", "id_r = the r-th greatest of gating(x) + b, of the best groups",
               ("n_used", "gating", "n_group", "n_group_used", "n_group_best"), _choose_experts),
        OpSpec("weigh_experts", "w_r = scale * gating(x)[id_r] (/ sum over r)", ("gating", "normalize", "scale"),
               _weigh_experts),
        OpSpec("experts", "y = sum_r w_r down_e (act(gate_e x) * up_e x), e = id_r", ("activation", "bias"), _experts),
        OpSpec("override", "y[t] = the row that the caller of the step passes in", (), _first, rowwise=False),
        OpSpec("mla_attention", "softmax(scale * q k^T) v, v the beginning of k", ("cache", "shape", "scale"),
               _mla_attention, rowwise=False),
        OpSpec("slice", "y[h, d] = x[h, start + d]", ("start", "size"), _slice),
        OpSpec("concat", "y[h] = x[h], then x2[h]", (), _concat),
        OpSpec("per_head_linear", "y[h] = W[h] x[h], a matrix for each head", ("rows", "transposed"), _per_head_linear),
        OpSpec("gather_rows", "y[m] = x[outputs[m]]", (), _first, rowwise=False),
    )
}  # fmt: skip
