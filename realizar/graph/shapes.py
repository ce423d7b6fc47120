"""The shape rule of every op: input shapes -> output shapes; GraphError if they do not match."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import prod
from typing import Any

from realizar.errors import GraphError
from realizar.graph.position import MAX_DISTANCE

Shape = tuple[int, ...]
"""Shape of one row, without the token dimension."""
Shapes = list[Shape]
Attrs = Mapping[str, Any]
ShapeRule = Callable[[Shapes, Shapes, Attrs], Shapes]
"""(input shapes, weight shapes, attributes) -> output shapes."""


def _need(ok: bool, message: str) -> None:
    if not ok:
        raise GraphError(message)


def embed(inputs: Shapes, weights: Shapes, attrs: Attrs) -> Shapes:
    """A row of the table: (n_embd,)."""
    return [weights[0][-1:]]


def linear(inputs: Shapes, weights: Shapes, attrs: Attrs) -> Shapes:
    """The whole input, of any shape, times each weight (n_out, n_in): (n_out,) each."""
    k = prod(inputs[0])
    for shape in weights:
        _need(len(shape) == 2 and shape[1] == k, f"linear: weight {shape} does not match an input of {k} elements")
    return [(shape[0],) for shape in weights]


def norm(inputs: Shapes, weights: Shapes, attrs: Attrs) -> Shapes:
    """The shape of x; weights have it too, or as many elements, or only its last dimension."""
    (x,) = inputs
    for w in weights:
        _need(w in (x, (prod(x),), x[-1:]), f"norm: weight {w} for an input of shape {x}")
    return [x]


def mul_weight(inputs: Shapes, weights: Shapes, attrs: Attrs) -> Shapes:
    """The shape of x; the weight has it too, or only its last dimension, or is one number."""
    (x,), (w,) = inputs, weights
    _need(w in (x, x[-1:], (1,)), f"mul_weight: weight {w} for an input of shape {x}")
    return [x]


def hadamard(inputs: Shapes, weights: Shapes, attrs: Attrs) -> Shapes:
    """The shape of x, whose elements are a multiple of the width; signs are one for each element."""
    (x,), width = inputs, attrs["width"]
    fits = width >= 2 and width & (width - 1) == 0 and prod(x) % width == 0
    _need(
        fits, f"hadamard: width {width} for an input of shape {x}; a power of two that divides its elements is needed"
    )
    _need(all(prod(w) == prod(x) for w in weights), f"hadamard: signs {weights} for an input of shape {x}")
    return [x]


def low_rank(inputs: Shapes, weights: Shapes, attrs: Attrs) -> Shapes:
    """Those of the products, which follow the input of all of them."""
    _need(len(inputs) == 1 + len(attrs["targets"]), f"low_rank: {len(inputs) - 1} products of {attrs['targets']}")
    return inputs[1:]


def same(inputs: Shapes, weights: Shapes, attrs: Attrs) -> Shapes:
    """The common shape of all inputs."""
    _need(len(set(inputs)) == 1, f"elementwise op: shapes {inputs} differ")
    return [inputs[0]]


def position_scale(inputs: Shapes, weights: Shapes, attrs: Attrs) -> Shapes:
    """(1,)."""
    period, offset = attrs["period"], attrs["offset"]
    _need(period >= 1 and offset >= 0, f"position_scale: period {period}, offset {offset}; at least 1 and 0 are needed")
    return [(1,)]


def scale_rows(inputs: Shapes, weights: Shapes, attrs: Attrs) -> Shapes:
    """The shape of x; the factor is (1,)."""
    _need(inputs[1] == (1,), f"scale_rows: a factor of shape (1,) is needed, found {inputs[1]}")
    return [inputs[0]]


def scale_heads(inputs: Shapes, weights: Shapes, attrs: Attrs) -> Shapes:
    """The shape of x, (n_head, n); the factors are (n_head,)."""
    x, factors = inputs
    _need(len(x) == 2 and factors == x[:1], f"scale_heads: factors of shape {factors} for heads of shape {x}")
    return [x]


def first(inputs: Shapes, weights: Shapes, attrs: Attrs) -> Shapes:
    """The shape of x."""
    return [inputs[0]]


def reshape(inputs: Shapes, weights: Shapes, attrs: Attrs) -> Shapes:
    """The attribute `shape`, with as many elements as x."""
    shape: Shape = attrs["shape"]
    _need(prod(shape) == prod(inputs[0]), f"reshape: {inputs[0]} and {shape} have different numbers of elements")
    return [shape]


def split(inputs: Shapes, weights: Shapes, attrs: Attrs) -> Shapes:
    """(size,) for each of the attribute `sizes`, which add up to the elements of x."""
    sizes: tuple[int, ...] = attrs["sizes"]
    _need(len(inputs[0]) == 1 and sum(sizes) == inputs[0][0], f"split: sizes {sizes} do not add up to {inputs[0]}")
    return [(size,) for size in sizes]


def rope(inputs: Shapes, weights: Shapes, attrs: Attrs) -> Shapes:
    """The shape of x: (n_head, head_dim)."""
    dims = attrs["dims"]
    _need(len(inputs[0]) == 2 and 0 < dims <= inputs[0][1] and dims % 2 == 0,
          f"rope: {dims} rotated dimensions for {inputs[0]}; an even number <= head_dim is needed")  # fmt: skip
    _need(all(len(shape) == 1 and shape[0] >= dims // 2 for shape in weights),
          f"rope: factors {weights} for {dims} rotated dimensions")  # fmt: skip
    axes = attrs["axes"]
    _need(axes is None or (len(axes) == dims // 2 and min(axes) >= 0),
          f"rope: axes {axes}; one is needed for each of {dims // 2} frequencies")  # fmt: skip
    return [inputs[0]]


def attention(inputs: Shapes, weights: Shapes, attrs: Attrs) -> Shapes:
    """q (n_head, head_dim), k (n_head_kv, head_dim), v (n_head_kv, head_dim_v): (n_head * head_dim_v,).

    Without k and v the attribute `shape` is (n_head_kv, head_dim, head_dim_v).
    """
    q, *kv = inputs
    k, v = kv or (attrs["shape"][:2], attrs["shape"][::2])
    _need(all(len(s) == 2 for s in (q, k, v)), f"attention: q, k, v must be (n_head, head_dim), found {q}, {k}, {v}")
    _need(q[1] == k[1] and k[0] == v[0] and q[0] % k[0] == 0, f"attention: shapes q {q}, k {k}, v {v} do not match")
    if attrs["buckets"] is not None:
        _need(weights[0][1:] == q[:1], f"attention: buckets {weights[0]} need one column for each head of q {q}")
        # In each direction, half of the buckets have one distance, the others a range.
        least = 2 if attrs["causal"] else 4
        _need(least <= weights[0][0] < least * MAX_DISTANCE,
              f"attention: {weights[0][0]} buckets; {least} to {least * MAX_DISTANCE - 1} are possible")  # fmt: skip
    if attrs["sinks"] is not None:
        _need(weights[-1] == q[:1], f"attention: sinks {weights[-1]}; one is needed for each head of q {q}")
    return [(q[0] * v[1],)]


def cross_store(inputs: Shapes, weights: Shapes, attrs: Attrs) -> Shapes:
    """k and v with the shapes that the cache declares; no output."""
    n_head_kv, head_dim, head_dim_v = attrs["shape"]
    _need(inputs == [(n_head_kv, head_dim), (n_head_kv, head_dim_v)],
          f"cross_store: k and v {inputs} for a cache of {n_head_kv} heads of {head_dim} and {head_dim_v}")  # fmt: skip
    return []


def cross_attention(inputs: Shapes, weights: Shapes, attrs: Attrs) -> Shapes:
    """q (n_head, head_dim): (n_head * head_dim_v,)."""
    n_head_kv, head_dim, head_dim_v = attrs["shape"]
    (q,) = inputs
    _need(len(q) == 2 and q[1] == head_dim and q[0] % n_head_kv == 0,
          f"cross_attention: q {q} does not match {n_head_kv} KV heads of {head_dim}")  # fmt: skip
    return [(q[0] * head_dim_v,)]


def causal_conv1d(inputs: Shapes, weights: Shapes, attrs: Attrs) -> Shapes:
    """The shape of x: (n_channel,)."""
    _need(weights[0][:1] == inputs[0], f"causal_conv1d: weight {weights[0]} for {inputs[0]} channels")
    return [inputs[0]]


def token_shift(inputs: Shapes, weights: Shapes, attrs: Attrs) -> Shapes:
    """(n_mix * n_channel,), for a weight (n_mix, ..., n_channel) with ones between the two."""
    (x,), (w,) = inputs, weights
    _need(len(w) > 1 and (prod(w[1:]),) == x, f"token_shift: weight {w} for {x}; (n_mix, n_channel) is needed")
    return [(prod(w),)]


def choose_experts(inputs: Shapes, weights: Shapes, attrs: Attrs) -> Shapes:
    """Scores (n_expert,): (n_used,)."""
    (n_expert,) = inputs[0]
    n_used, n_group, n_group_used = attrs["n_used"], attrs["n_group"], attrs["n_group_used"]
    _need(all(shape == (n_expert,) for shape in weights), f"choose_experts: bias {weights} for {n_expert} experts")
    _need(
        n_group > 0 and n_expert % n_group == 0,
        f"choose_experts: {n_expert} experts are not divisible into {n_group} groups",
    )
    per_group = n_expert // n_group
    _need(
        0 < n_group_used <= n_group and 0 < attrs["n_group_best"] <= per_group,
        f"choose_experts: {n_group_used} of {n_group} groups, by the best {attrs['n_group_best']} of {per_group}",
    )
    _need(0 < n_used <= n_group_used * per_group,
          f"choose_experts: {n_used} experts out of {n_group_used * per_group} candidates")  # fmt: skip
    return [(n_used,)]


def weigh_experts(inputs: Shapes, weights: Shapes, attrs: Attrs) -> Shapes:
    """One weight for each chosen expert."""
    n_expert = inputs[0]
    _need(all(shape == n_expert for shape in weights), f"weigh_experts: scales {weights} for {n_expert} experts")
    return [inputs[1]]


def experts(inputs: Shapes, weights: Shapes, attrs: Attrs) -> Shapes:
    """x (n_embd,), ids and weights (n_used,): (n_out,)."""
    x, ids, w = inputs
    *gate, up, down = weights
    n_expert, n_ff, n_embd = up if len(up) == 3 else (0, 0, 0)
    _need(gate in ([], [up]) and x == (n_embd,) and len(down) == 3 and down[::2] == (n_expert, n_ff) and ids == w,
          f"experts: gate {gate}, up {up}, down {down} for an input {x}, choice {ids}, weights {w}; "
          "(n_expert, n_ff, n_embd) of gate and up and (n_expert, n_out, n_ff) are needed")  # fmt: skip
    return [down[1:2]]


def selective_scan(inputs: Shapes, weights: Shapes, attrs: Attrs) -> Shapes:
    """The shape of x: (n_channel,)."""
    (n_channel,), (n_head,), b, c = inputs
    a, *rest = weights
    n_state: int = attrs["n_state"]
    _need(n_channel % n_head == 0, f"selective_scan: {n_channel} channels cannot be split into {n_head} heads")
    _need(b == c and b[0] % n_state == 0 and n_head % (b[0] // n_state) == 0,
          f"selective_scan: b {b} and c {c} are not groups of {n_state} states shared by {n_head} heads")  # fmt: skip
    alone = n_head == n_channel and b == (n_state,)
    _need(a == (n_head, 1) or (alone and a == (n_head, n_state)), f"selective_scan: a {a} for {n_head} heads")
    _need(all(prod(shape) == n_head for shape in rest), f"selective_scan: d and dt_bias {rest} for {n_head} heads")
    return [inputs[0]]


def decay(inputs: Shapes, weights: Shapes, attrs: Attrs) -> Shapes:
    """The shape of x: (n,), the channels of as many heads as a has elements."""
    (x,), (bias, *rest) = inputs, weights
    for a in rest:
        _need(len(x) == 1 and x[0] % prod(a) == 0, f"decay: a {a} for {x}; one number is needed for each head")
    _need(prod(bias) == x[0], f"decay: bias {bias} for {x}")
    return [x]


def delta_rule(inputs: Shapes, weights: Shapes, attrs: Attrs) -> Shapes:
    """The shape of v: (n_head, head_dim_v)."""
    q, k, v, decay, beta = inputs
    n_head, dim_v, dim_k = attrs["shape"] if len(attrs["shape"]) == 3 else (0, 0, 0)
    _need(v == (n_head, dim_v), f"delta_rule: v {v} for a state {attrs['shape']}; (n_head, head_dim_v, head_dim_k)")
    _need(q == k and len(k) == 2 and k[1] == dim_k and n_head % k[0] == 0,
          f"delta_rule: q {q} and k {k} for a state {attrs['shape']}; (n_head_k, head_dim_k) is needed")  # fmt: skip
    _need(beta == (n_head,) and decay in ((n_head,), (n_head * dim_k,)),
          f"delta_rule: decay {decay} and beta {beta} for {n_head} heads with keys of {dim_k}")  # fmt: skip
    return [v]


def generalized_delta_rule(inputs: Shapes, weights: Shapes, attrs: Attrs) -> Shapes:
    """The shape of v: (n_head, head_dim_v)."""
    q, k, v, decay, a, b = inputs
    n_head, dim_v, dim_k = attrs["shape"] if len(attrs["shape"]) == 3 else (0, 0, 0)
    _need(v == (n_head, dim_v) and q == k == a == b == (n_head, dim_k) and decay == (n_head * dim_k,),
          f"generalized_delta_rule: q {q}, k {k}, v {v}, decay {decay}, a {a} and b {b} for a state {attrs['shape']}; "
          "(n_head, head_dim_v, head_dim_k)")  # fmt: skip
    return [v]


def mla_attention(inputs: Shapes, weights: Shapes, attrs: Attrs) -> Shapes:
    """q (n_head, head_dim), k (n_head_kv, head_dim), chosen (n_keys,) or nothing: (n_head * head_dim_v,)."""
    q, k, *chosen = inputs
    n_head_kv, head_dim, head_dim_v = attrs["shape"]
    _need(len(q) == 2 and k == (n_head_kv, head_dim) and q[1] == head_dim and q[0] % n_head_kv == 0,
          f"mla_attention: shapes q {q} and k {k} do not match")  # fmt: skip
    _need(0 < head_dim_v <= head_dim, f"mla_attention: values of {head_dim_v} elements in keys of {head_dim}")
    _need(all(len(shape) == 1 for shape in chosen), f"mla_attention: chosen keys must be (n_keys,), found {chosen}")
    return [(q[0] * head_dim_v,)]


def choose_keys(inputs: Shapes, weights: Shapes, attrs: Attrs) -> Shapes:
    """q (n_head, head_dim), k (1, head_dim), weights (n_head,): (n_keys,)."""
    q, k, w = inputs
    n_keys = attrs["n_keys"]
    want = "(n_head, head_dim), (1, head_dim) and (n_head,)"
    fits = len(q) == 2 and k == (1, q[1]) and w == q[:1]
    _need(fits, f"choose_keys: q {q}, k {k} and weights {w}; {want} are needed")
    _need(n_keys >= 1, f"choose_keys: {n_keys} keys to choose; at least 1 is needed")
    return [(n_keys,)]


def slice_(inputs: Shapes, weights: Shapes, attrs: Attrs) -> Shapes:
    """(n_head, size) of (n_head, head_dim)."""
    (shape,), start, size = inputs, attrs["start"], attrs["size"]
    _need(len(shape) == 2 and 0 <= start < start + size <= shape[1],
          f"slice: elements {start} to {start + size} of heads of shape {shape}")  # fmt: skip
    return [(shape[0], size)]


def concat(inputs: Shapes, weights: Shapes, attrs: Attrs) -> Shapes:
    """(n_head, n) and (n_head, m): (n_head, n + m)."""
    a, b = inputs
    _need(len(a) == len(b) == 2 and a[0] == b[0], f"concat: {a} and {b} differ in the number of heads")
    return [(a[0], a[1] + b[1])]


def per_head_linear(inputs: Shapes, weights: Shapes, attrs: Attrs) -> Shapes:
    """x (n_head, n_in): (n_head, n_out)."""
    n_head, k = inputs[0]
    n_row, n_col = matrix_of_a_head(weights[0], n_head)
    first, end = attrs["rows"] or (0, n_row)
    _need(0 <= first < end <= n_row, f"per_head_linear: rows {first} to {end} of the {n_row} of a head")
    n_in, n_out = (end - first, n_col) if attrs["transposed"] else (n_col, end - first)
    _need(k == n_in, f"per_head_linear: weight {weights[0]} does not match heads of {k} elements")
    return [(n_head, n_out)]


def matrix_of_a_head(shape: Shape, n_head: int) -> Shape:
    """(rows, columns) of each head's matrix in a weight of `per_head_linear`."""
    if len(shape) == 1:
        _need(shape[0] % n_head == 0, f"per_head_linear: weight {shape} cannot be split into {n_head} rows")
        return 1, shape[0] // n_head
    rows, columns = prod(shape[:-1]), shape[-1]
    _need(rows % n_head == 0, f"per_head_linear: weight {shape} cannot be split into {n_head} heads")
    return rows // n_head, columns
