"""The builder methods of attention, which `Graph` inherits: over keys and values of the step, or of a cache."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from realizar.errors import GraphError
from realizar.graph.values import Cache

if TYPE_CHECKING:
    from realizar.graph.ops import Shape
    from realizar.graph.values import Value, WeightLike


class Recorder(Protocol):
    """What these methods need of a graph."""

    caches: dict[str, Cache]

    def emit(
        self, op: str, inputs: Sequence[Value], names: Sequence[str], weights: Iterable[tuple[str, Shape]] = (),
        **attrs: Any,
    ) -> list[Value]:  # fmt: skip
        """Append a node, as `Graph.emit`."""
        ...


class AttentionOps:
    """Attention of every kind, and the caches that it keeps."""

    def attention(
        self: Recorder, q: Value, k: Value | None = None, v: Value | None = None, *, layer: int | None = None,
        kv_of: int | None = None, scale: float, window: int = 0, softcap: float = 0.0, causal: bool = True,
        buckets: WeightLike | None = None, alibi: float = 0.0, sinks: WeightLike | None = None, chunked: bool = False,
        skip: int = 0, spans: bool = True,
    ) -> Value:  # fmt: skip
        """softmax(scale * q k^T) v over the keys that the query sees; K and V go to the KV cache.

        q: (n_head, head_dim), k: (n_head_kv, head_dim), v: (n_head_kv, head_dim_v); gives (n_head * head_dim_v,).
        Sliding-window attention: a query sees the `window` newest keys, its own included (0: all); with `chunked`,
        those of its chunk of `window` tokens, counted from the first token of the sequence. softcap c replaces a score
        s by c tanh(s / c). With layer=None there is no KV cache, and each step must contain whole sequences, as
        bidirectional attention (`causal=False`) requires; its window is symmetric: a query sees the keys that are at
        most `window` // 2 away. Relative position biases: `buckets` (n_bucket, n_head) of T5, or `alibi`, the greatest
        exponent of ALiBi's slopes (`graph.position`). `sinks` (n_head,) are attention sinks, scores that take part in
        the softmax without a value. With `kv_of` in place of k and v, the keys and values are those that this earlier
        layer has cached, rotated as it has rotated them; the layer has no cache of its own
        (https://arxiv.org/abs/2405.12981). Causal queries do not see the first `skip` keys of the sequence; those among
        them see their own. Without `spans`, the rows of a bidirectional span do not see each other in both directions.
        """
        if layer is not None and not causal:
            raise GraphError(f"attention: layer {layer} has a KV cache, so it must be causal")
        cache, shape, inputs = None, None, [q]
        if kv_of is not None:
            cache = shared_cache(self, kv_of, window, (k, v))
            shape = (cache.n_head_kv, cache.head_dim_k, cache.head_dim_v)
        elif k is None or v is None:
            raise GraphError("attention: k and v are needed, or kv_of, the layer whose keys and values are attended to")
        else:
            inputs += [k, v]
            if layer is not None:
                kind = "window" if window else "full"
                cache = remember(self, Cache(layer, kind, window, k.shape[0], k.shape[1], v.shape[1]))
        pairs = [(weight.tensor, weight.shape) for weight in (buckets, sinks) if weight is not None]
        return self.emit("attention", inputs, ["attention" if layer is None else f"blk.{layer}.attention"], pairs,
                         cache=None if cache is None else cache.key, shape=shape,
                         scale=float(scale), window=window, softcap=float(softcap), causal=causal,
                         buckets=None if buckets is None else buckets.tensor, alibi=float(alibi),
                         sinks=None if sinks is None else sinks.tensor, chunked=chunked,
                         skip=skip, spans=spans, rope=None)[0]  # fmt: skip

    def mla_attention(
        self: Recorder, q: Value, k: Value, chosen: Value | None = None, *, layer: int, scale: float, head_dim_v: int
    ) -> Value:
        """Multi-head latent attention: softmax(scale * q k^T) v, causal, with v the first `head_dim_v` elements of k.

        Only k goes to the KV cache (https://arxiv.org/abs/2405.04434). q: (n_head, head_dim),
        k: (n_head_kv, head_dim); gives (n_head * head_dim_v,). `chosen` (n_keys,), from `choose_keys` of this or an
        earlier layer, are the keys that the query sees; without it, all up to its own.
        """
        cache = remember(self, Cache(layer, "latent", 0, k.shape[0], k.shape[1], 0))
        inputs = [q, k] if chosen is None else [q, k, chosen]
        return self.emit("mla_attention", inputs, [f"blk.{layer}.attention"], cache=cache.key, scale=float(scale),
                         shape=(*k.shape, head_dim_v))[0]  # fmt: skip

    def choose_keys(self: Recorder, q: Value, k: Value, weights: Value, *, layer: int, n_keys: int) -> Value:
        """Choose the `n_keys` keys of a sparse attention by their scores: (n_keys,).

        The lightning indexer (https://arxiv.org/abs/2512.02556): the score of a key is the sum over the heads of
        weight * relu(q . k), with keys of its own, which have a cache of their own. Positive factors of the scores
        change nothing, so there are none. q: (n_head, head_dim), k: (1, head_dim), weights: (n_head,). Gives the rows
        of the chosen keys in their sequence, ascending, then -1 if the query sees fewer than `n_keys`. Of keys with
        equal scores the first ones are chosen.
        """
        cache = remember(self, Cache(layer, "latent", 0, k.shape[0], k.shape[1], 0, "indexer"))
        return self.emit("choose_keys", [q, k, weights], [f"blk.{layer}.keys"], cache=cache.key, n_keys=n_keys,
                         shape=(*k.shape, k.shape[1]))[0]  # fmt: skip

    def cache(self: Recorder, layer: int, kind: str, *, n_head_kv: int, head_dim: int, head_dim_v: int) -> Cache:
        """Declare a cache of layer `layer` that one program writes and another reads.

        Kind "cross" is K and V of the encoder input: one program writes them (`cross_store`), another attends to them
        (`cross_attention`); both declare the same cache.
        """
        if kind != "cross":
            raise GraphError(f"cache: kind {kind!r} is unknown; known is 'cross'")
        return remember(self, Cache(layer, kind, 0, n_head_kv, head_dim, head_dim_v, kind))

    def cross_store(self: Recorder, k: Value, v: Value, cache: Cache) -> None:
        """Cache k: (n_head_kv, head_dim) and v: (n_head_kv, head_dim_v) of each token of the encoder input."""
        self.emit(
            "cross_store", [k, v], [], cache=cache.key, shape=(cache.n_head_kv, cache.head_dim_k, cache.head_dim_v)
        )

    def cross_attention(self: Recorder, q: Value, cache: Cache, *, scale: float) -> Value:
        """Cross-attention: softmax(scale * q k^T) v over the K and V of `cross_store`; q: (n_head, head_dim).

        Gives (n_head * head_dim_v,).
        """
        return self.emit("cross_attention", [q], [f"{cache.key}.attention"], cache=cache.key, scale=float(scale),
                         shape=(cache.n_head_kv, cache.head_dim_k, cache.head_dim_v))[0]  # fmt: skip


def remember(g: Recorder, cache: Cache) -> Cache:
    """Declare a cache of a layer; GraphError if the layer has one of that key."""
    if cache.key in g.caches:
        raise GraphError(f"attention: layer {cache.layer} already has a KV cache")
    g.caches[cache.key] = cache
    return cache


def shared_cache(g: Recorder, layer: int, window: int, given: Sequence[Value | None]) -> Cache:
    """Return the cache of an earlier layer that another one attends to with this window.

    Raises
    ------
    GraphError
        If k or v are given as well, the layer has no keys and values, or the window is wider than what it keeps.
    """
    cache = next((c for c in g.caches.values() if c.layer == layer and c.kind in ("full", "window")), None)
    if any(value is not None for value in given):
        raise GraphError(f"attention: kv_of={layer} attends to the keys and values of layer {layer}; leave out k and v")
    if cache is None:
        raise GraphError(f"attention: kv_of={layer}, but no layer {layer} has cached keys and values before this one")
    if cache.window and not 0 < window <= cache.window:
        raise GraphError(f"attention: window={window}, but layer {layer} keeps the newest {cache.window} keys only")
    return cache
