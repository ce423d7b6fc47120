"""Graph: records the equations of a model as nodes over values, once per load."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import reduce
from typing import TYPE_CHECKING, Any

from realizar.errors import GraphError
from realizar.graph.activations import GATED, UNGATED
from realizar.graph.attention import AttentionOps
from realizar.graph.deprecated import DeprecatedNames
from realizar.graph.ops import OPS, OpSpec, Shape, inputs_of, n_axes_of
from realizar.graph.plugin_ops import check_node, output_shapes
from realizar.graph.pooling import PoolingOps
from realizar.graph.recurrent import RecurrentOps
from realizar.graph.rope import RopeScaling
from realizar.graph.values import Cache, Node, Rotation, State, Value, WeightLike

if TYPE_CHECKING:
    from collections.abc import Iterable


class Graph(RecurrentOps, AttentionOps, PoolingOps, DeprecatedNames):
    """The equations of one program, recorded by calling the methods below.

    Every method takes and returns `Value`s, whose shapes leave out the leading token dimension, and raises
    `GraphError` if shapes do not match. `docs/graph.md` has the formula of each.

    Parameters
    ----------
    ops : Mapping[str, OpSpec] | None
        Ops that plugins provide, for `op`.

    Attributes
    ----------
    nodes : list[Node]
    values : list[Value]
        A value's id is its index.
    outputs : dict[str, int]
        Name of an output -> value id.
    caches : dict[str, Cache]
        KV caches of the layers, by key.
    states : dict[str, State]
        Recurrent states of the layers, by key.
    """

    def __init__(self, ops: Mapping[str, OpSpec] | None = None) -> None:
        self.ops: Mapping[str, OpSpec] = {} if ops is None else ops
        self.nodes: list[Node] = []
        self.values: list[Value] = []
        self.outputs: dict[str, int] = {}
        self.caches: dict[str, Cache] = {}
        self.states: dict[str, State] = {}
        self._names: set[str] = set()
        self._rotated: dict[tuple[int, Rotation], Value] = {}

    @property
    def inputs(self) -> tuple[str, ...]:
        """The inputs of a step that the program reads: some of `graph.ops.INPUTS`."""
        return inputs_of(self.nodes)

    @property
    def n_axes(self) -> int:
        """Number of position axes that its rotary embeddings read; 1 unless some have `axes`."""
        return n_axes_of(self.nodes)

    # ---- recording

    def value(self, name: str, shape: Shape) -> Value:
        """A new value; a name that is taken gets the value's id as a suffix."""
        unique = name if name not in self._names else f"{name}.{len(self.values)}"
        self._names.add(unique)
        value = Value(len(self.values), unique, shape, self)
        self.values.append(value)
        return value

    def emit(
        self, op: str, inputs: Sequence[Value], names: Sequence[str], weights: Iterable[tuple[str, Shape]] = (),
        **attrs: Any,
    ) -> list[Value]:  # fmt: skip
        """Append a node of a built-in op and return its outputs; the shape rule of the op checks the inputs."""
        pairs = list(weights)
        shapes = OPS[op].shape([v.shape for v in inputs], [shape for _, shape in pairs], attrs)
        return self._append(OPS[op], inputs, list(zip(names, shapes, strict=True)), [name for name, _ in pairs], attrs)

    def _append(
        self, spec: OpSpec, inputs: Sequence[Value], results: Sequence[tuple[str, Shape]], weights: Sequence[str],
        attrs: Mapping[str, Any],
    ) -> list[Value]:  # fmt: skip
        if any(value.graph is not self for value in inputs):
            raise GraphError(f"{spec.name}: an input belongs to another graph")
        outputs = [self.value(name, shape) for name, shape in results]
        own = None if spec.define is None else spec
        ids = tuple(v.id for v in outputs)
        self.nodes.append(Node(spec.name, tuple(v.id for v in inputs), ids, tuple(weights), attrs, own))
        return outputs

    def op(
        self, name: str, inputs: Sequence[Value], weights: Sequence[WeightLike] = (), *, state: State | None = None,
        **attrs: Any,
    ) -> list[Value]:  # fmt: skip
        """Record an op that a plugin provides (hook `realizar_ops`); its shape rule gives the shapes of the results.

        `weights` are in the order of its definition; a bias is a separate weight. `state`, from `g.state`, is the state
        that it keeps for each sequence; `attrs` are all attributes that its row lists.
        """
        if name not in self.ops:
            known = ", ".join(sorted(self.ops)) or "none"
            hint = "; a built-in op is recorded by its own method" if name in OPS else ""
            raise GraphError(f"op {name!r}: no installed plugin provides it{hint}; ops of plugins: {known}")
        spec = self.ops[name]
        for weight in weights:
            if weight.bias is not None:
                raise GraphError(f"op {name!r}: {weight.name} has a bias; declare it as a weight of its own")
        check_node(spec, len(inputs), state is not None, attrs)
        shapes = output_shapes(spec, [v.shape for v in inputs], [weight.shape for weight in weights], attrs)
        names = [name if len(shapes) == 1 else f"{name}.{j}" for j in range(len(shapes))]
        if state is not None:
            attrs["state"] = state.key
        return self._append(spec, inputs, list(zip(names, shapes, strict=True)), [w.tensor for w in weights], attrs)

    # ---- the ops that an architecture writes

    def input(self, name: str, shape: Shape) -> Value:
        """A value of this shape that every step passes in by its name, such as the hidden state of another program."""
        return self._append(OPS["override"], [], [(name, shape)], (), {})[0]

    def embed(self, weight: WeightLike, scale: float = 1.0) -> Value:
        """Rows of the embedding table for the tokens of the batch, times `scale`: (n_embd,).

        A program that records this also accepts embeddings in place of tokens (for example of images); these rows are
        not multiplied by `scale`. For a factor that applies to both, scale the result. Where the file stores the table
        in a rotated basis, only tokens are accepted.
        """
        return self._look_up("embed", weight, "token" if weight.rotation is None else "id", scale)

    def embed_ids(self, weight: WeightLike, scale: float = 1.0) -> Value:
        """Rows of a table for the token ids, times `scale`: (n_embd,). A row that enters as an embedding has id 0."""
        return self._look_up("embed", weight, "id", scale)

    def embed_positions(self, weight: WeightLike) -> Value:
        """Rows of a table of learned positions for the positions of the batch, those of the first axis: (n_embd,)."""
        return self._look_up("embed", weight, "position")

    def embed_types(self, weight: WeightLike) -> Value:
        """The first row of a table of token types, for every token: (n_embd,). Only segment 0 is supported."""
        return self._look_up("embed", weight, "type")

    def _look_up(self, op: str, weight: WeightLike, by: str, scale: float = 1.0) -> Value:
        pair, r = (weight.tensor, weight.shape), weight.rotation
        (y,) = self.emit(op, [], [weight.name], [pair], by=by, scale=float(scale))
        return y if r is None else self.hadamard(y, r.width, r.signs, inverse=True)

    def linear(self, x: Value, weight: WeightLike) -> Value:
        """W x + b: (n_out,); without b if the file has none.

        If the file has a scale for W, the result is scale * W x + b. If it stores W in a rotated basis, x is rotated,
        once for all weights of the same basis.
        """
        pair = (weight.tensor, weight.shape)
        x = x if weight.rotation is None else self._rotate(x, weight.rotation)
        (y,) = self.emit("linear", [x], [weight.name], [pair], bias=(weight.bias,), residual=False)
        return y if weight.scale is None else self.scale(y, weight.scale)

    def _rotate(self, x: Value, rotation: Rotation) -> Value:
        key = (x.id, rotation)
        if key not in self._rotated:
            grouped = x if rotation.groups is None else self._group_heads(x, *rotation.groups)
            self._rotated[key] = self.hadamard(grouped, rotation.width, rotation.signs)
        return self._rotated[key]

    def _group_heads(self, x: Value, n_group: int, n: int) -> Value:
        """Heads in the order (n, n_group), head by head in the order (n_group, n); all elements in one row."""
        flat = self.flatten(x) if len(x.shape) == 2 else x
        parts = self.split(flat, *[flat.shape[0] // n] * n)
        heads = [self.heads(part, n_group) for part in parts]
        return self.flatten(reduce(self.concat, heads))

    def hadamard(self, x: Value, width: int, signs: WeightLike | None = None, *, inverse: bool = False) -> Value:
        """H (signs * x) / sqrt(width) for each `width` elements of x, with `inverse` signs * H x / sqrt(width).

        H is the Sylvester-Hadamard matrix of +1 and -1; `width` is a power of two that divides the elements of x, and
        `signs` has one of 1 or -1 for each element.
        """
        pairs = [] if signs is None else [(signs.tensor, signs.shape)]
        return self.emit("hadamard", [x], ["hadamard"], pairs, width=width, inverse=inverse)[0]

    def rms_norm(self, x: Value, weight: WeightLike | None, eps: float) -> Value:
        """x / sqrt(mean(x^2) + eps) * w + b over the last dimension; w may be None, and b if the file has none.

        w and b have the shape of the last dimension, or that of x (weights for each head), also as one vector.
        """
        return self._norm("rms_norm", x, weight, eps)

    def layer_norm(self, x: Value, weight: WeightLike | None, eps: float) -> Value:
        """(x - mean) / sqrt(var + eps) * w + b, with w and b as in `rms_norm`."""
        return self._norm("layer_norm", x, weight, eps)

    def _norm(self, op: str, x: Value, weight: WeightLike | None, eps: float) -> Value:
        names = () if weight is None else (weight.tensor, weight.bias)
        pairs = [(name, weight.shape) for name in names if weight is not None and name is not None]
        return self.emit(op, [x], [weight.name if weight else op], pairs, eps=eps)[0]

    def add(self, a: Value, b: Value) -> Value:
        """a + b, also as the operator +."""
        return self.emit("add", [a, b], ["add"])[0]

    def mul(self, a: Value, b: Value) -> Value:
        """a times b elementwise, or with b of shape (1,), or (n_head, n) times (n_head,); also the operator ``*``."""
        if b.shape == (1,) != a.shape:
            return self.emit("scale_rows", [a, b], ["scale_rows"])[0]
        if len(a.shape) == 2 and len(b.shape) == 1:
            return self.emit("scale_heads", [a, b], ["scale_heads"])[0]
        return self.emit("mul", [a, b], ["mul"])[0]

    def mul_weight(self, x: Value, weight: WeightLike) -> Value:
        """x * w: w is one number (1,), or has the shape of x or of its last dimension."""
        return self.emit("mul_weight", [x], [weight.name], [(weight.tensor, weight.shape)])[0]

    def scale(self, x: Value, factor: float) -> Value:
        """``x * factor``, also as the operator ``*``."""
        return self.emit("scale", [x], ["scale"], factor=float(factor))[0]

    def silu(self, x: Value) -> Value:
        """x / (1 + exp(-x))."""
        return self.emit("silu", [x], ["silu"])[0]

    def gelu(self, x: Value) -> Value:
        """x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3))), in transformers gelu_new or gelu_pytorch_tanh."""
        return self.emit("gelu", [x], ["gelu"])[0]

    def gelu_erf(self, x: Value) -> Value:
        """x / 2 * (1 + erf(x / sqrt(2))), which transformers calls gelu."""
        return self.emit("gelu_erf", [x], ["gelu_erf"])[0]

    def sigmoid(self, x: Value) -> Value:
        """1 / (1 + exp(-x))."""
        return self.emit("sigmoid", [x], ["sigmoid"])[0]

    def relu(self, x: Value) -> Value:
        """max(x, 0)."""
        return self.emit("relu", [x], ["relu"])[0]

    def softplus(self, x: Value) -> Value:
        """ln(1 + exp(x))."""
        return self.emit("softplus", [x], ["softplus"])[0]

    def elu(self, x: Value) -> Value:
        """x where it is positive, exp(x) - 1 elsewhere (https://arxiv.org/abs/1511.07289)."""
        return self.emit("elu", [x], ["elu"])[0]

    def clamp(self, x: Value, limit: float) -> Value:
        """min(max(x, -limit), limit)."""
        return self.emit("clamp", [x], ["clamp"], limit=float(limit))[0]

    def softcap(self, x: Value, cap: float) -> Value:
        """cap * tanh(x / cap), in (-cap, cap)."""
        return self.emit("softcap", [x], ["softcap"], cap=float(cap))[0]

    def heads(self, x: Value, n_head: int) -> Value:
        """View of (n_head * head_dim,) as (n_head, head_dim)."""
        if x.shape[0] % n_head:
            raise GraphError(f"heads: {x.shape[0]} elements cannot be split into {n_head} heads")
        return self.emit("reshape", [x], ["heads"], shape=(n_head, x.shape[0] // n_head))[0]

    def flatten(self, x: Value) -> Value:
        """View of (n_head, head_dim) as (n_head * head_dim,)."""
        return self.emit("reshape", [x], ["flatten"], shape=(x.shape[0] * x.shape[1],))[0]

    def split(self, x: Value, *sizes: int) -> list[Value]:
        """Views of consecutive slices: (n,) as (sizes[0],), (sizes[1],) and so on."""
        return self.emit("split", [x], [f"split.{j}" for j in range(len(sizes))], sizes=tuple(sizes))

    def slice(self, x: Value, start: int, size: int) -> Value:
        """Elements start to start + size of each head: (n_head, size). x: (n_head, head_dim)."""
        return self.emit("slice", [x], ["slice"], start=start, size=size)[0]

    def concat(self, a: Value, b: Value) -> Value:
        """The elements of each head of a, then those of b: (n_head, n + m). a: (n_head, n), b: (n_head, m)."""
        return self.emit("concat", [a, b], ["concat"])[0]

    def per_head_linear(
        self, x: Value, weight: WeightLike, rows: tuple[int, int] | None = None, transposed: bool = False
    ) -> Value:
        """W[h] x[h], a matrix for each head: (n_head, n_out). x: (n_head, n_in).

        weight: (n_head, n_row, n_col), (n_head * n_row, n_col), or (n_head * n_col,) for matrices of one row. `rows` =
        (first, end) selects rows of each head's matrix; `transposed` multiplies with the transposed matrices, in
        float32.
        """
        return self.emit("per_head_linear", [x], [weight.name], [(weight.tensor, weight.shape)], rows=rows,
                         transposed=transposed)[0]  # fmt: skip

    def rope(
        self, x: Value, *, style: str, dims: int, base: float, scaling: RopeScaling | None = None,
        factors: WeightLike | tuple[WeightLike, WeightLike] | None = None, axes: Sequence[int] | None = None,
    ) -> Value:  # fmt: skip
        """Rotary position embedding: rotates pairs of the first `dims` elements of each head by position * inv_freq.

        `style` "neox" pairs element i with i + dims / 2, "norm" pairs 2i with 2i + 1. x: (n_head, head_dim).
        `factors` divide the frequencies; of two tables, the first is used if n_ctx <= `scaling.n_ctx_orig`, else the
        second (longrope, https://arxiv.org/abs/2402.13753). If positions have several axes (M-RoPE), `axes` gives the
        axis of each of the dims / 2 frequencies: see `graph.rope.section_axes`.
        """
        if style not in ("neox", "norm"):
            raise GraphError(f"rope: style {style!r} is unknown; known are 'neox' and 'norm'")
        tables = factors if isinstance(factors, tuple) else () if factors is None else (factors,)
        pairs = [(table.tensor, table.shape) for table in tables]
        return self.emit("rope", [x], ["rope"], pairs, dims=dims, base=float(base), style=style,
                         scaling=scaling or RopeScaling(), axes=None if axes is None else tuple(axes))[0]  # fmt: skip

    def position_scale(self, *, factor: float, period: int, offset: int = 0) -> Value:
        """1 + factor * ln(1 + floor((position + offset) / period)), a scale of queries in long contexts: (1,)."""
        return self.emit("position_scale", [], ["position_scale"], factor=float(factor), period=period,
                         offset=offset)[0]  # fmt: skip

    def route(
        self, logits: Value, n_used: int, *, gating: str = "softmax", normalize: bool = False, scale: float = 1.0,
        bias: WeightLike | None = None, n_group: int = 1, n_group_used: int = 1, n_group_best: int = 2,
        expert_scale: WeightLike | None = None,
    ) -> tuple[Value, Value]:  # fmt: skip
        """Choose `n_used` experts for each token: their ids, best first, and their weights; both (n_used,).

        logits: (n_expert,). `gating` "softmax" and "sigmoid" score all experts, "softmax_chosen" takes the logits as
        scores and the softmax over the chosen ones. `bias` (n_expert,) affects the choice only. With groups, experts
        come from the `n_group_used` groups with the greatest sum of `n_group_best` scores. Ties go to the lower id.
        `normalize` divides the weights by their sum, `scale` multiplies them, and `expert_scale` (n_expert,) that of
        each expert by a number of its own.
        """
        if gating not in ("softmax", "sigmoid", "softmax_chosen"):
            raise GraphError(f"route: gating {gating!r} is unknown; known are 'softmax', 'sigmoid', 'softmax_chosen'")
        pairs = [] if bias is None else [(bias.tensor, bias.shape)]
        n_group_best = n_group_best if n_group > 1 else 1
        (ids,) = self.emit("choose_experts", [logits], [f"{logits.name}.ids"], pairs, n_used=n_used, gating=gating,
                           n_group=n_group, n_group_used=n_group_used, n_group_best=n_group_best)  # fmt: skip
        pairs = [] if expert_scale is None else [(expert_scale.tensor, expert_scale.shape)]
        (weights,) = self.emit("weigh_experts", [logits, ids], [f"{logits.name}.weights"], pairs, gating=gating,
                               normalize=normalize, scale=float(scale))  # fmt: skip
        return ids, weights

    def experts(
        self, x: Value, choice: tuple[Value, Value], *, gate: WeightLike | None, up: WeightLike, down: WeightLike,
        activation: str = "silu", limit: float = 0.0,
    ) -> Value:  # fmt: skip
        """The weighted sum of the chosen experts' down(act(gate(x)) * up(x)), in the order of `choice`: (n_out,).

        choice: ids and weights from `route`. gate, up: (n_expert, n_ff, n_embd), down: (n_expert, n_out, n_ff), each
        with a bias (n_expert, rows) and a factor for the products of each expert if the file has them. activation
        "silu", "gelu", "relu", or "swiglu_oai" for gpt-oss's g / (1 + exp(-1.702 g)) * (u + 1) with g at most 7 and u
        within 7 of zero; with gate=None, "relu2", max(u, 0)^2, or "gelu_erf". With "silu", `limit` clamps silu(g) and
        u to within it of zero (0: no limit).
        """
        known = UNGATED if gate is None else GATED
        if activation not in known:
            raise GraphError(f"experts: activation {activation!r} with gate={gate}: known are {', '.join(known)}")
        if limit and activation != "silu":
            raise GraphError(f"experts: limit={limit:g} is for activation 'silu', found {activation!r}")
        weights = [weight for weight in (gate, up, down) if weight is not None]
        pairs = [(weight.tensor, weight.shape) for weight in weights]
        return self.emit("experts", [x, *choice], [down.name], pairs, activation=activation, limit=float(limit),
                         bias=tuple(weight.bias for weight in weights),
                         scales=tuple(weight.expert_scales for weight in weights), targets=(),
                         max_rank=0)[0]  # fmt: skip
