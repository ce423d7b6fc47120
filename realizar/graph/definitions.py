"""The numpy definition of every built-in op, over consecutive rows of one sequence.

The inputs of the run contain keys, values and recurrent states of the previous rows. Products and sums in
float64; `graph.reference` rounds every result once to float32.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from realizar.graph import activations, recurrences, routing
from realizar.graph.hadamard import hadamard
from realizar.graph.indexer import choose_keys
from realizar.graph.position import position_bias, position_scales
from realizar.graph.rope import factors_for, rope_frequencies
from realizar.graph.rounding import cached_k, cached_v, own_query, quantize_activations
from realizar.params import kv_types
from realizar.quants import FORMATS

if TYPE_CHECKING:
    from realizar.graph.reference import Inputs
    from realizar.graph.values import Node

F32 = npt.NDArray[np.float32]
Definition = Callable[["Node", Sequence[F32], "Inputs"], list[Any]]
"""(node, its inputs [n, *shape], inputs of the run) -> its outputs [n, *shape]."""


def _rounded(x: F32, block: int, activations: str) -> npt.NDArray[np.float64]:
    """x as quantized for products with weights in blocks of `block`; int16 is int8 plus int8 of its rounding error."""
    if activations == "f32" or block == 1:
        return x.astype(np.float64)
    rounded = quantize_activations(x, block)
    if activations == "int16":
        rounded = rounded + quantize_activations((x - rounded.astype(np.float32)).astype(np.float32), block)
    return rounded


def _embed(node: Node, x: Sequence[F32], inputs: Inputs) -> list[Any]:
    by = node.attrs["by"]
    rows = {"position": inputs.positions[0], "type": np.zeros_like(inputs.tokens)}.get(by, inputs.tokens)
    y = np.atleast_2d(inputs.tensors[node.weights[0]].floats())[rows] * np.float32(node.attrs["scale"])
    for row, embedding in inputs.embeddings.items():
        if by == "token":
            y[row] = embedding
    return [y]


def _product(h: F32, matrix: F32, bias: F32 | None, type_name: str, inputs: Inputs) -> npt.NDArray[np.float64]:
    """W h + b, for a weight W of format `type_name`."""
    a = _rounded(h, FORMATS[type_name].act_block, inputs.activations)
    y: npt.NDArray[np.float64] = a @ matrix.astype(np.float64).T
    return y if bias is None else y + bias


def _linear(node: Node, x: Sequence[F32], inputs: Inputs) -> list[Any]:
    h = x[0].reshape(len(x[0]), -1)
    out = []
    for name, bias in zip(node.weights, node.attrs["bias"], strict=True):
        weight = inputs.tensors[name]
        b = None if bias is None else inputs.tensors[bias].floats()
        y = _product(h, weight.floats(), b, weight.type, inputs)
        out.append(y + x[1] if node.attrs["residual"] else y)
    return out


def _experts(node: Node, x: Sequence[F32], inputs: Inputs) -> list[Any]:
    h, ids, weights = x
    tensors = [inputs.tensors[name] for name in node.weights]
    matrices = [tensor.floats() for tensor in tensors]
    biases, scales = (
        [None if name is None else inputs.tensors[name].floats() for name in node.attrs[key]]
        for key in ("bias", "scales")
    )

    def product(j: int, rows: F32, e: int) -> F32:
        b, s = biases[j], scales[j]
        y = _product(rows, matrices[j][e], None, tensors[j].type, inputs)
        y = y if s is None else y * s[e]
        y = y if b is None else y + b[e]
        target = node.attrs["targets"][j] if node.attrs["targets"] else None
        for a, up, scale in _factors(inputs, target):
            y = y + (scale * (rows.astype(np.float64) @ a[e].astype(np.float64).T)) @ up[e].astype(np.float64).T
        return y.astype(np.float32)

    activate = activations.OF_EXPERTS[node.attrs["activation"]]
    if node.attrs["limit"]:
        activate = partial(activations.limited_swiglu, limit=node.attrs["limit"])
    *ups, down = range(len(matrices))
    out = np.zeros((*ids.shape, matrices[down].shape[1]))
    for e in np.unique(ids).astype(int):
        row, rank = np.nonzero(ids == e)
        act = activate(*(product(j, h[row], e) for j in ups))
        out[row, rank] = product(down, act.astype(np.float32), e)
    return [np.einsum("tr,trn->tn", weights.astype(np.float64), out)]


def _weighted(x: npt.NDArray[np.float64], node: Node, inputs: Inputs) -> npt.NDArray[np.float64]:
    """x w + b, the last step of a norm."""
    tensors = [inputs.tensors[name].floats() for name in node.weights]
    tensors = [w if len(w) == x.shape[-1] else w.reshape(x.shape[1:]) for w in tensors]
    y = x * tensors[0] if tensors else x
    return y + tensors[1] if tensors[1:] else y


def _rms_norm(node: Node, x: Sequence[F32], inputs: Inputs) -> list[Any]:
    h = x[0].astype(np.float64)
    scale = 1.0 / np.sqrt(np.mean(h * h, axis=-1, keepdims=True) + node.attrs["eps"])
    return [_weighted(h * scale, node, inputs)]


def _layer_norm(node: Node, x: Sequence[F32], inputs: Inputs) -> list[Any]:
    h = x[0].astype(np.float64)
    h = h - h.mean(axis=-1, keepdims=True)
    y = h / np.sqrt(np.mean(h * h, axis=-1, keepdims=True) + node.attrs["eps"])
    return [_weighted(y, node, inputs)]


def _split(node: Node, x: Sequence[F32], inputs: Inputs) -> list[Any]:
    return np.split(x[0], np.cumsum(node.attrs["sizes"])[:-1], axis=1)


def _rotate(x: F32, attrs: Mapping[str, Any], weights: tuple[str, ...], inputs: Inputs) -> npt.NDArray[np.float64]:
    """x: [n, n_head, head_dim]; angles are float32 products, as transformers computes them."""
    dims, half = attrs["dims"], attrs["dims"] // 2
    name = factors_for(weights, attrs["scaling"], inputs.n_ctx)
    factors = None if name is None else inputs.tensors[name].floats()
    inv_freq, mscale = rope_frequencies(dims, attrs["base"], attrs["scaling"], factors)
    axes = [0] * half if attrs["axes"] is None or len(inputs.positions) == 1 else list(attrs["axes"])
    positions = inputs.positions if inputs.picked is None else inputs.positions[:, inputs.picked]
    angle = (positions[axes].T.astype(np.float32) * inv_freq).astype(np.float64)[:, None, :]
    cos, sin = np.cos(angle) * mscale, np.sin(angle) * mscale
    y = x.astype(np.float64)
    neox = attrs["style"] == "neox"
    first, second = (slice(half), slice(half, dims)) if neox else (slice(0, dims, 2), slice(1, dims, 2))
    a, b = y[..., first].copy(), y[..., second].copy()
    y[..., first], y[..., second] = a * cos - b * sin, a * sin + b * cos
    return y


def _rows(n_query: int, n_key: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The rows of queries [n_query, 1] and of keys [1, n_key] in their sequence, of which the queries are the last."""
    return np.arange(n_key - n_query, n_key)[:, None], np.arange(n_key)[None, :]


def _near(n_query: int, n_key: int, window: int) -> npt.NDArray[np.bool_]:
    """Which keys a query of bidirectional attention sees: bool [n_query, n_key]."""
    query, key = _rows(n_query, n_key)
    near: npt.NDArray[np.bool_] = np.abs(query - key) <= (window // 2 if window else n_key)
    return near


def _seen(
    n_query: int,
    n_key: int,
    inputs: Inputs,
    window: int = 0,
    chunked: bool = False,
    skip: int = 0,
    spans: bool = True,
) -> npt.NDArray[np.bool_]:
    """Which keys a query of causal attention sees: bool [n_query, n_key]."""
    query, key = _rows(n_query, n_key)
    seen = (key <= query) & (key >= np.minimum(skip, query))
    if window:
        seen &= key // window == query // window if chunked else key > query - window
    for span in inputs.spans if spans else ():
        first, end = (n_key - n_query + row for row in span)
        seen |= (first <= query) & (query < end) & (first <= key) & (key < end)
    return seen


def _attention(node: Node, x: Sequence[F32], inputs: Inputs) -> list[Any]:
    attrs, (q, *kv) = node.attrs, x
    if attrs["rope"] is not None:
        q, kv[0] = (_rotate(t, attrs["rope"], attrs["rope"]["factors"], inputs).astype(np.float32) for t in (q, kv[0]))
    kv_type = "f32" if attrs["cache"] is None else inputs.kv_type
    if not kv:
        kv = [*inputs.kv.of_layer(attrs["cache"], len(inputs.tokens))]
    elif attrs["cache"] is not None:
        kv = [*inputs.kv.extend(attrs["cache"], *kv)]
    k, v = kv
    n, n_key = len(inputs.tokens), len(k)
    query, key = _rows(n, n_key)
    window = attrs["window"]
    if attrs["causal"]:
        seen = _seen(n, n_key, inputs, window, attrs["chunked"], attrs["skip"], attrs["spans"])
    else:
        seen = _near(n, n_key, window)
    if inputs.picked is not None:
        query, seen = query[inputs.picked], seen[inputs.picked]
    table = None if attrs["buckets"] is None else inputs.tensors[attrs["buckets"]].floats()
    bias = position_bias(attrs, table, q.shape[1], n_key)
    biases = None if bias is None else bias[:, key - query + n_key - 1]
    sinks = None if attrs["sinks"] is None else inputs.tensors[attrs["sinks"]].floats()
    return [_attend(q, k, v, attrs["scale"], kv_type, seen, softcap=attrs["softcap"], bias=biases, sinks=sinks)]


def _attend(
    q: F32, k: F32, v: F32, scale: float, kv_type: str | tuple[str, str], seen: npt.NDArray[np.bool_],
    softcap: float = 0.0, bias: F32 | None = None, sinks: F32 | None = None, latent: int = 0,
) -> npt.NDArray[np.float64]:  # fmt: skip
    """softmax(scale * q k^T + bias) v with grouped query heads; seen and bias: [..., n_query, n_key].

    latent: for MLA, v is the first `latent` elements of the cached k; 0: v has a separate cache. Keys and values that
    no query sees may be anything, also NaN.
    """
    k_type, v_type = kv_types(kv_type)
    used = seen.any(axis=0)
    k, v, seen, bias = k[used], v[used], seen[:, used], None if bias is None else bias[..., used]
    group = q.shape[1] // k.shape[1]
    kept = cached_k(k, k_type)
    values_kept = kept[..., :latent] if latent else cached_v(v, v_type)
    keys, values = (np.repeat(t, group, axis=1) for t in (kept, values_kept))
    score = np.einsum("thd,shd->hts", own_query(q, k_type), keys) * scale
    if softcap:
        score = softcap * np.tanh(score / softcap)
    if bias is not None:
        score = score + bias
    score = np.where(seen, score, -np.inf)
    sink = np.full(score.shape[:1], -np.inf) if sinks is None else sinks.astype(np.float64)
    most = np.maximum(score.max(axis=-1, keepdims=True), sink[:, None, None])
    p = np.exp(score - most)
    p /= p.sum(axis=-1, keepdims=True) + np.exp(sink[:, None, None] - most)
    out: npt.NDArray[np.float64] = np.einsum("hts,shd->thd", p, values).reshape(len(q), -1)
    return out


def _mla_attention(node: Node, x: Sequence[F32], inputs: Inputs) -> list[Any]:
    q, k, *chosen = x
    k, _ = inputs.kv.extend(node.attrs["cache"], k, None)
    seen = _seen(len(q), len(k), inputs)
    if chosen:
        ids = chosen[0].astype(np.int64)
        seen = np.zeros((len(q), len(k) + 1), bool)
        np.put_along_axis(seen, np.where(ids < 0, len(k), ids), True, axis=1)
        seen = seen[:, : len(k)]
    return [_attend(q, k, k, node.attrs["scale"], inputs.kv_type, seen, latent=node.attrs["shape"][2])]


def _choose_keys(node: Node, x: Sequence[F32], inputs: Inputs) -> list[Any]:
    q, k, weights = x
    k, _ = inputs.kv.extend(node.attrs["cache"], k, None)
    kept = cached_k(k, kv_types(inputs.kv_type)[0])[:, 0]
    seen = _seen(len(q), len(k), inputs)
    return [choose_keys(q.astype(np.float64), kept, weights.astype(np.float64), seen, node.attrs["n_keys"])]


def _per_head_linear(node: Node, x: Sequence[F32], inputs: Inputs) -> list[Any]:
    (h,), weight = x, inputs.tensors[node.weights[0]]
    w = weight.floats()
    w = w.reshape(h.shape[1], -1, w.shape[-1] if w.ndim > 1 else h.shape[-1])
    first, end = node.attrs["rows"] or (0, w.shape[1])
    w = w[:, first:end]
    if node.attrs["transposed"]:
        return [np.einsum("thr,hrc->thc", h.astype(np.float64), w)]
    y = [_product(h[:, i], w[i], None, weight.type, inputs) for i in range(h.shape[1])]
    return [np.stack(y, axis=1)]


def _cross_store(node: Node, x: Sequence[F32], inputs: Inputs) -> list[Any]:
    inputs.kv.extend(node.attrs["cache"], x[0], x[1])
    return []


def _cross_attention(node: Node, x: Sequence[F32], inputs: Inputs) -> list[Any]:
    k, v = inputs.kv.of_encoder(node.attrs["cache"])
    return [_attend(x[0], k, v, node.attrs["scale"], inputs.kv_type, np.ones((len(x[0]), len(k)), bool))]


def _hadamard(node: Node, x: Sequence[F32], inputs: Inputs) -> list[Any]:
    rows = x[0].reshape(len(x[0]), -1).astype(np.float64)
    signs = inputs.tensors[node.weights[0]].floats() if node.weights else np.float32(1)
    if node.attrs["inverse"]:
        y = signs * hadamard(rows, node.attrs["width"])
    else:
        y = hadamard(signs * rows, node.attrs["width"])
    return [y.reshape(x[0].shape)]


def _factors(inputs: Inputs, name: str | None) -> Iterable[tuple[Any, Any, float]]:
    """A, B and the scale of each adapter of the sequence that has factors under this name."""
    return () if inputs.adapters is None or name is None else inputs.adapters.factors(name)


def _low_rank(node: Node, x: Sequence[F32], inputs: Inputs) -> list[Any]:
    """LoRA (https://arxiv.org/abs/2106.09685), section 4.1, for each adapter of the sequence in its order."""
    h = x[0].reshape(len(x[0]), -1).astype(np.float64)
    out = []
    for name, product in zip(node.attrs["targets"], x[1:], strict=True):
        y = product.astype(np.float64)
        for a, b, scale in _factors(inputs, name):
            y = y + (scale * (h @ a.astype(np.float64).T)) @ b.astype(np.float64).T
        out.append(y)
    return out


def _low_rank_embed(node: Node, x: Sequence[F32], inputs: Inputs) -> list[Any]:
    """Rows of W + B A, whose rows are those of tokens."""
    y = x[0].astype(np.float64)
    kept = [row for row in range(len(y)) if node.attrs["by"] != "token" or row not in inputs.embeddings]
    for a, b, scale in _factors(inputs, node.attrs["target"]):
        rows = b[inputs.tokens[kept]].astype(np.float64) @ a.astype(np.float64)
        y[kept] += scale * node.attrs["scale"] * rows
    return [y]


def _control_vector(node: Node, x: Sequence[F32], inputs: Inputs) -> list[Any]:
    y = x[0].astype(np.float64)
    for _, b, scale in _factors(inputs, node.attrs["place"]):
        y = y + scale * b[:, 0].astype(np.float64)
    return [y]


DEFINITIONS: dict[str, Definition] = {
    "embed": _embed,
    "linear": _linear,
    "low_rank": _low_rank,
    "low_rank_embed": _low_rank_embed,
    "control_vector": _control_vector,
    "rms_norm": _rms_norm,
    "layer_norm": _layer_norm,
    "add": lambda node, x, inputs: [x[0] + x[1]],
    "mul": lambda node, x, inputs: [x[0] * x[1]],
    "mul_weight": lambda node, x, inputs: [x[0] * inputs.tensors[node.weights[0]].floats()],
    "hadamard": _hadamard,
    "scale": lambda node, x, inputs: [x[0] * np.float32(node.attrs["factor"])],
    "scale_rows": lambda node, x, inputs: [x[0] * x[1].reshape(-1, *[1] * (x[0].ndim - 1))],
    "scale_heads": lambda node, x, inputs: [x[0] * x[1][..., None]],
    "clamp": lambda node, x, inputs: [np.clip(x[0], -node.attrs["limit"], node.attrs["limit"])],
    "softcap": lambda node, x, inputs: [activations.softcap(x[0], node.attrs["cap"])],
    "silu": lambda node, x, inputs: [activations.silu(x[0])],
    "gelu": lambda node, x, inputs: [activations.gelu(x[0])],
    "gelu_erf": lambda node, x, inputs: [activations.gelu_erf(x[0])],
    "sigmoid": lambda node, x, inputs: [activations.sigmoid(x[0])],
    "relu": lambda node, x, inputs: [np.maximum(x[0], 0)],
    "softplus": lambda node, x, inputs: [activations.softplus(x[0])],
    "elu": lambda node, x, inputs: [activations.elu(x[0])],
    "softmax": lambda node, x, inputs: [activations.softmax(x[0])],
    "swiglu": lambda node, x, inputs: [activations.silu(x[0]) * x[1]],
    "geglu": lambda node, x, inputs: [activations.geglu(x[0], x[1])],
    "geglu_erf": lambda node, x, inputs: [activations.gelu_erf(x[0]) * x[1]],
    "reshape": lambda node, x, inputs: [x[0].reshape(-1, *node.attrs["shape"])],
    "split": _split,
    "rope": lambda node, x, inputs: [_rotate(x[0], node.attrs, node.weights, inputs)],
    "attention": _attention,
    "cross_store": _cross_store,
    "cross_attention": _cross_attention,
    "position_scale": lambda node, x, inputs: [position_scales(node.attrs, inputs.positions[0])[:, None]],
    "causal_conv1d": recurrences.causal_conv1d,
    "token_shift": recurrences.token_shift,
    "selective_scan": recurrences.selective_scan,
    "decay": recurrences.decay,
    "delta_rule": recurrences.delta_rule,
    "generalized_delta_rule": recurrences.generalized_delta_rule,
    "choose_experts": lambda node, x, inputs: [
        routing.choose(x[0], node.attrs, inputs.tensors[node.weights[0]].floats() if node.weights else None)
    ],
    "weigh_experts": lambda node, x, inputs: [
        routing.weigh(x[0], x[1], node.attrs, inputs.tensors[node.weights[0]].floats() if node.weights else None)
    ],
    "experts": _experts,
    "mla_attention": _mla_attention,
    "choose_keys": _choose_keys,
    "slice": lambda node, x, inputs: [x[0][..., node.attrs["start"] :][..., : node.attrs["size"]]],
    "concat": lambda node, x, inputs: [np.concatenate(x, axis=-1)],
    "per_head_linear": _per_head_linear,
    "gather_rows": lambda node, x, inputs: [x[0][inputs.outputs]],
    "pool_first": lambda node, x, inputs: [np.repeat(x[0][:1], len(inputs.outputs), axis=0)],
    "pool_mean": lambda node, x, inputs: [
        np.repeat(x[0].mean(axis=0, keepdims=True, dtype=np.float64), len(inputs.outputs), axis=0)
    ],
}
"""Op name -> definition; "override" has none, since its value is not computed."""
