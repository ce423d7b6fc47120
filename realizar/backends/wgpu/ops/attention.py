"""Rotary embeddings and attention: shaders/rope.wgsl, store.wgsl and attention.wgsl."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from realizar.backends.wgpu.kernels import Part
from realizar.backends.wgpu.lowering import BySplits, Decoding, Dispatch, Lowering, Place, groups
from realizar.backends.wgpu.storage import OF_WORD, ROUNDED
from realizar.graph.position import alibi_slopes, position_bias

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from realizar.backends.wgpu.kernels import Constant
    from realizar.backends.wgpu.lowering import Work
    from realizar.graph import Node

SPLIT, MAX_SPLITS = 256, 64
"""Keys of a sequence that have a softmax of their own, at least; and how many such there are, at most."""
ROWS_OF_SPLITS = 32
"""Rows of the step for which splits are computed at the same time; more rows keep a device busy without."""
ONE_WORD: dict[str, Constant] = {
    "K_TYPE": "u32",
    "K_WORD": "k[i]",
    "PRODUCT": "for (var i = 0u; i < K_WORDS; i += 1u) { sum += product_of_word(k[k_at(at) + i], i); }",
    "OWN_PRODUCT": "for (var i = 0u; i < K_WORDS; i += 1u) { sum += product_of_word(own_k[i], i); }",
}
_FOUR = """for (var i = 0u; i < K_WORDS; i += 4u) {
        let words = WORDS;
        sum += product_of_word(words.x, i) + product_of_word(words.y, i + 1u)
            + product_of_word(words.z, i + 2u) + product_of_word(words.w, i + 3u);
    }"""
FOUR_WORDS: dict[str, Constant] = {
    "K_TYPE": "vec4<u32>",
    "K_WORD": "k[i / 4u][i % 4u]",
    "PRODUCT": _FOUR.replace("= WORDS", "= k[(k_at(at) + i) / 4u]"),
    "OWN_PRODUCT": _FOUR.replace("= WORDS", "= vec4<u32>(own_k[i], own_k[i + 1u], own_k[i + 2u], own_k[i + 3u])"),
}
"""WGSL of a product of a query with a key that is read in one or four words at a time."""
READ: dict[str, Constant] = {
    "STORES": False, "ACCESS": "read", "OWN_KEY": "product(own_at)", "OWN_SCALE": "value_scale(own_at)",
    "OWN_VALUES": "values_of(own_at, pair)",
}  # fmt: skip
STORE: dict[str, Constant] = {
    "STORES": True, "ACCESS": "read_write", "OWN_KEY": "product_of_own()", "OWN_SCALE": "1.0",
    "OWN_VALUES": "values_of_own(pair)",
}  # fmt: skip
"""Constants of attention to keys that are all in the cache, and of one that stores those of its own row."""
READS = 8
"""Values that an invocation reads before it needs the first of them."""
UNROLLED: dict[str, Constant] = {
    "READS": READS,
    "READ": "\n".join(f"let v{u} = values_of(rows[t + {u}u * KEY_GROUPS], pair);" for u in range(READS)),
    "ADD": "\n".join(f"values += weights[t + {u}u * KEY_GROUPS] * v{u};" for u in range(READS)),
}
"""WGSL that reads and adds them: drivers do not unroll such a loop by themselves."""
NO_ROTATION: dict[str, Constant] = {"ROTATION": 0, "DIMS": 0, "NEOX": False}
NO_BIAS: dict[str, Constant] = {"HAS_BIASES": False, "HAS_ALIBI": False, "N_BIAS": 0}
UNMASKED: dict[str, Constant] = {
    "N_WINDOW": 0, "N_SKIP": 0, "SOFTCAP": 0.0, "IS_CAUSAL": True, "IS_CHUNKED": False, "HAS_SPANS": True,
    "HAS_SINKS": False, "N_KEYS": "n_of_sequence", "HAS_CHOSEN": False, "ROW_OF_CHOSEN": "row",
}  # fmt: skip
"""Constants of shaders/attention.wgsl for plain causal attention."""
FLOATS: dict[str, Constant] = {
    "TRANSFORMS_K": False, "TRANSFORMS_V": False, "K_WIDTH": 1, "V_WIDTH": 1, "ROUNDS_Q": False
}  # fmt: skip
"""Constants for keys and values that are neither transformed nor rounded."""


def _rotation(low: Lowering, attrs: Mapping[str, Any] | None, weights: tuple[str, ...]) -> dict[str, Constant]:
    """Return the constants of shaders/rotate.wgsl."""
    if attrs is None:
        return NO_ROTATION
    place = low.step.rotation(attrs, weights)
    return {"ROTATION": place, "DIMS": attrs["dims"], "NEOX": attrs["style"] == "neox"}


def _rotate(low: Lowering, x: Place, y: Place, n_head: int, rotation: Mapping[str, Constant]) -> Dispatch:
    constants = {**rotation, "N_HEAD": n_head, "DIM": x.n // n_head, "PICKED": x.m_rows}
    return low.dispatch("rope", constants, {"x": x, "y": y}, x=groups(x.n), m_rows=y.m_rows, parts=["rotate"])


def _rope(op: Node, low: Lowering) -> Sequence[Work]:
    n_head = prod(low.plan.shapes[op.inputs[0]][:-1])
    rotation = _rotation(low, op.attrs, op.weights)
    return [_rotate(low, low.place(op.inputs[0]), low.place(op.outputs[0]), n_head, rotation)]


def _attention(op: Node, low: Lowering) -> Sequence[Work]:
    attrs = op.attrs
    q, *kv = (low.place(i) for i in op.inputs)
    n_head, n_head_kv = low.plan.shapes[op.inputs[0]][0], _kv_shape(op, low)[0]
    rope = attrs["rope"]
    rotation = _rotation(low, rope, () if rope is None else rope["factors"])
    works: list[Work] = []
    buffers: dict[str, Any] = {"q": q, "y": low.place(op.outputs[0])}
    constants: dict[str, Constant] = {"N_HEAD": n_head, "PICKED": q.m_rows, **rotation, **_kv_constants(op, low)}
    if attrs["cache"] is None:
        k, v = kv
        if rope is not None:
            rotated = low.scratch(k.n, k.m_rows)
            works.append(_rotate(low, k, rotated, n_head_kv, rotation))
            k = rotated
        buffers.update(k=k, v=v)
    else:
        cache = low.storage.caches[attrs["cache"]]
        if kv:
            works += _store(op, low, kv[0], kv[1], rotation)
        buffers.update(k=cache.k, v=cache.v)
    constants.update(_mask_constants(attrs))
    constants.update(_biases(op, low, n_head, buffers))
    parts: list[str | Part] = [
        "reduce",
        *(["step_kv"] if attrs["cache"] is None else _cached(constants)),
        *(["plain_query"] if rope is None else ["rotate", "rotated_query"]),
        "mask",
    ]
    whole = (*works, _attend(low, constants, buffers, parts))
    if (
        attrs["cache"] is None
        or not kv
        or q.m_rows
        or not attrs["causal"]
        or low.storage.caches[attrs["cache"]].is_rounded
    ):
        return whole
    buffers.update(new_k=kv[0], new_v=kv[1])
    parts += [Part(("rotate", "key_source"), "k_", 0, ()), "new_kv"]
    return [Decoding(_attend(low, {**constants, **STORE}, buffers, parts), whole)]


def _attend(
    low: Lowering, constants: Mapping[str, Constant], buffers: Mapping[str, Any], parts: Sequence[str | Part]
) -> BySplits:
    """Return the attention as one dispatch, and as two for few rows of long sequences."""
    n_head, v_dim, q = int(constants["N_HEAD"]), int(constants["V_DIM"]), buffers["q"]
    split = groups(low.params.n_ctx, SPLIT * MAX_SPLITS) * SPLIT
    n_splits = groups(low.params.n_ctx, split)
    shared = {**READ, **UNROLLED, **constants, "SPLIT": split, "N_SPLITS": n_splits}
    whole = low.dispatch("attention", {**shared, "IS_PART": False}, buffers, x=n_head, m_rows=q.m_rows, parts=parts)
    n_floats = ROWS_OF_SPLITS * n_head * n_splits * (v_dim + v_dim % 2 + 2)
    between = low.shared_memory("splits", n_floats)
    part = low.dispatch(
        "attention", {**shared, "IS_PART": True, "Y_LD": 0, "Y_AT": 0}, {**buffers, "y": between}, x=n_head,
        m_rows=q.m_rows, parts=parts, split=split,
    )  # fmt: skip
    merge = low.dispatch(
        "attention_merge", shared, {"parts": between, "sinks": buffers.get("sinks"), "y": buffers["y"]}, x=n_head,
        m_rows=q.m_rows, parts=["mask", *_values(constants)],
    )  # fmt: skip
    return BySplits(ROWS_OF_SPLITS, split, whole, (part, merge))


def _kv_shape(op: Node, low: Lowering) -> tuple[int, int, int]:
    if op.spec.kv_shape is None:
        raise TypeError(f"op {op.op!r} has no shape of keys and values")
    return op.spec.kv_shape(low.shapes(op), op.attrs)


def _kv_constants(op: Node, low: Lowering) -> dict[str, Constant]:
    """Return the constants that say how keys and values are read."""
    n_head_kv, k_dim, v_dim = _kv_shape(op, low)
    shared: dict[str, Constant] = {
        "N_HEAD_KV": n_head_kv, "K_DIM": k_dim, "V_DIM": v_dim, "Q_SIZE": k_dim + k_dim % 2,
        "WIDE": next((wide for wide in (16, 32, 64, 128) if 2 * wide >= v_dim), 256),
    }  # fmt: skip
    if op.attrs["cache"] is None:
        return {**shared, **FLOATS}
    cache = low.storage.caches[op.attrs["cache"]]
    words = FOUR_WORDS if cache.k_shape[2] % 4 == 0 else ONE_WORD
    width = width_of(k_dim)
    return {
        **shared, **words, "TABLE": low.step.table(low.plan.cache(op.attrs["cache"])[0]),
        "K_WORDS": cache.k_shape[2], "V_WORDS": cache.v_shape[2], **_types(cache.k_type, cache.v_type),
        "K_WIDTH": width, "V_WIDTH": width if cache.v is None else width_of(v_dim),
        "Q_SIZE": max(k_dim + k_dim % 2, OF_WORD[cache.k_type] * cache.k_shape[2]),
    }  # fmt: skip


def _types(k_type: str, v_type: str) -> dict[str, Constant]:
    """Return the constants of the types of keys and values; latents have one type."""
    kinds = (("K", k_type), ("V", v_type))
    return {
        **{f"{name}_IS_{kind.upper()}": found == kind for name, found in kinds for kind in ("f16", "int8", "q4")},
        "TRANSFORMS_K": k_type in ROUNDED, "TRANSFORMS_V": v_type == "q4", "ROUNDS_Q": k_type == "q4",
    }  # fmt: skip


def width_of(dim: int) -> int:
    """Return the elements that a Hadamard transform of a head mixes: the greatest power of two that divides it."""
    return dim & -dim


def _cached(constants: Mapping[str, Constant]) -> list[str]:
    """Return the parts of attention with a cache."""
    query = ["size", "transformed_query"] if constants["TRANSFORMS_K"] else []
    return ["cached_kv", *query, *_values(constants)]


def _values(constants: Mapping[str, Constant]) -> list[str]:
    """Return the part that turns results back if values are transformed."""
    return ["transformed_values"] if constants["TRANSFORMS_V"] else []


def _store(op: Node, low: Lowering, k: Place, v: Place | None, rotation: Mapping[str, Constant]) -> list[Dispatch]:
    """Store keys and values; keys alone in a cache of latents."""
    cache = low.storage.caches[op.attrs["cache"]]
    shared = {**_kv_constants(op, low)}
    if not cache.is_rounded:
        buffers = {"k": k, "v": k, "k_cache": cache.k}  # without values, V_WORDS is 0: none are read
        if v is not None:
            buffers.update(v=v, v_cache=cache.v)
        return [_store_floats(low, {**shared, **rotation}, buffers)]
    made = [_store_one(low, {**shared, **rotation}, "K", cache.k_type, k, cache.k)]
    if v is not None:
        made.append(_store_one(low, {**shared, **NO_ROTATION}, "V", cache.v_type, v, cache.v))
    return made


def _store_floats(low: Lowering, constants: Mapping[str, Constant], buffers: Mapping[str, Any]) -> Dispatch:
    words = max(int(constants["K_WORDS"]), int(constants["V_WORDS"]))
    n = groups(int(constants["N_HEAD_KV"]) * words)
    return low.dispatch("store", {**constants, "WORDS": words}, buffers, x=n, m_rows=False, parts=["rotate"])


def _store_one(
    low: Lowering, constants: Mapping[str, Constant], name: str, kind: str, x: Place, cache: Any
) -> Dispatch:
    """Store keys or values by themselves; `name` is "K" or "V"."""
    words, dim = constants[f"{name}_WORDS"], constants[f"{name}_DIM"]
    if kind not in ROUNDED:
        own = {"K_DIM": dim, "K_WORDS": words, "K_IS_F16": kind == "f16", "V_WORDS": 0}
        return _store_floats(low, {**constants, **own}, {"k": x, "v": x, "k_cache": cache})
    n_head, transforms = int(constants["N_HEAD_KV"]), name == "K" or kind == "q4"
    own = {
        **{key: constants[key] for key in ("ROTATION", "DIMS", "NEOX", "TABLE", "N_HEAD_KV")}, "WORDS": words,
        "OF_WORD": OF_WORD[kind], "DIM": dim, "IS_Q4": kind == "q4", "WIDTH": width_of(int(dim)) if transforms else 1,
    }  # fmt: skip
    parts = ["rotate", "reduce", "size"]
    return low.dispatch("store_rounded", own, {"x": x, "cache": cache}, x=n_head, m_rows=False, parts=parts)


def _mask_constants(attrs: Mapping[str, Any]) -> dict[str, Constant]:
    return {
        "SCALE": float(attrs["scale"]), "N_WINDOW": int(attrs["window"]), "N_SKIP": int(attrs["skip"]),
        "SOFTCAP": float(attrs["softcap"]), "IS_CAUSAL": bool(attrs["causal"]), "IS_CHUNKED": bool(attrs["chunked"]),
        "HAS_SPANS": bool(attrs["spans"]),
        "HAS_SINKS": attrs["sinks"] is not None, "N_KEYS": "n_of_sequence",
        "HAS_CHOSEN": False, "ROW_OF_CHOSEN": "row",
    }  # fmt: skip


def _biases(op: Node, low: Lowering, n_head: int, buffers: dict[str, Any]) -> dict[str, Constant]:
    """Add the buffers of position biases and sinks, and return the constants that say which there are."""
    attrs = op.attrs
    if attrs["sinks"] is not None:
        buffers["sinks"], _ = low.vector(attrs["sinks"])
    if attrs["alibi"]:
        buffers["biases"] = low.floats(alibi_slopes(n_head, attrs["alibi"]).astype(np.float32))
        return {"HAS_BIASES": True, "HAS_ALIBI": True, "N_BIAS": 0}
    table = None if attrs["buckets"] is None else low.tensors[attrs["buckets"]].floats()
    bias = position_bias(attrs, table, n_head, low.params.n_ctx)
    if bias is None:
        return NO_BIAS
    buffers["biases"] = low.floats(bias)
    return {"HAS_BIASES": True, "HAS_ALIBI": False, "N_BIAS": bias.shape[1]}


def _mla_attention(op: Node, low: Lowering) -> Sequence[Work]:
    """Keys of one head for all queries; values are their first elements, in the same cache."""
    cache = low.storage.caches[op.attrs["cache"]]
    q, k, *chosen = (low.place(i) for i in op.inputs)
    shared = {**_kv_constants(op, low), **NO_ROTATION}
    constants = {**shared, "N_HEAD": low.plan.shapes[op.inputs[0]][0], "PICKED": q.m_rows, **NO_BIAS, **UNMASKED}
    constants.update(SCALE=float(op.attrs["scale"]), V_WORDS=cache.k_shape[2], **_types(cache.k_type, cache.k_type))
    constants["TRANSFORMS_V"] = constants["TRANSFORMS_K"]
    buffers = {"q": q, "k": cache.k, "v": cache.k, "y": low.place(op.outputs[0])}
    parts = ["reduce", *_cached(constants), "plain_query", "mask"]
    store = _store(op, low, k, None, NO_ROTATION)
    if not chosen:
        return [*store, _attend(low, constants, buffers, parts)]
    row = "group.y" if chosen[0].m_rows == q.m_rows else "row"
    constants.update(HAS_CHOSEN=True, N_CHOSEN=chosen[0].n, ROW_OF_CHOSEN=row)
    return [*store, _attend(low, constants, {**buffers, "chosen": chosen[0]}, parts).whole]


def _choose_keys(op: Node, low: Lowering) -> Sequence[Work]:
    """Scores of all keys of a sequence for each row, then the choice."""
    cache, ids = low.storage.caches[op.attrs["cache"]], low.place(op.outputs[0])
    q, k, weights = (low.place(i) for i in op.inputs)
    constants = {**_kv_constants(op, low), **READ, **UNMASKED, "ROUNDS_Q": False, "TRANSFORMS_V": False}
    constants.update(N_HEAD=low.plan.shapes[op.inputs[0]][0], N_CTX=low.params.n_ctx, N_CHOSEN=ids.n, PICKED=q.m_rows)
    scores = low.shared_memory("scores of keys", low.params.n_batch * low.params.n_ctx)
    buffers = {"q": q, "k": cache.k, "v": cache.k, "weights": weights, "scores": scores}
    parts = ["reduce", *_cached(constants), "mask"]
    tiles = low.dispatch("index_scores", constants, buffers, x=1, m_rows=q.m_rows, parts=parts, split=64)
    buffers = {"scores": scores, "ids": ids}
    choice = low.dispatch("choose_keys", constants, buffers, x=1, m_rows=q.m_rows, parts=["mask"])
    return [*_store(op, low, k, None, NO_ROTATION), tiles, choice]


def _cross_store(op: Node, low: Lowering) -> Sequence[Work]:
    k, v = (low.place(i) for i in op.inputs)
    return _store(op, low, k, v, NO_ROTATION)


def _cross_attention(op: Node, low: Lowering) -> Sequence[Work]:
    q, cache = low.place(op.inputs[0]), low.storage.caches[op.attrs["cache"]]
    constants = {**_kv_constants(op, low), **NO_ROTATION, **NO_BIAS, **UNMASKED, "PICKED": q.m_rows}
    constants.update(
        N_HEAD=low.plan.shapes[op.inputs[0]][0], SCALE=float(op.attrs["scale"]), IS_CAUSAL=False, N_KEYS="n_of_encoder"
    )
    buffers = {"q": q, "k": cache.k, "v": cache.v, "y": low.place(op.outputs[0])}
    parts = ["reduce", *_cached(constants), "plain_query", "mask"]
    return [_attend(low, constants, buffers, parts).whole]


LOWERED: dict[str, Callable[[Node, Lowering], Sequence[Work] | None]] = {
    "rope": _rope, "attention": _attention, "mla_attention": _mla_attention, "cross_store": _cross_store,
    "cross_attention": _cross_attention, "choose_keys": _choose_keys,
}  # fmt: skip
