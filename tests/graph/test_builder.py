"""The builder rejects shapes that do not match and names them; deprecated names still work."""

import pytest

from realizar.arch.architecture import WeightRef
from realizar.errors import GraphError
from realizar.graph import Graph
from realizar.graph.deprecated import RENAMED


def weight(name, *shape, bias=None):
    return WeightRef(name, shape, bias)


@pytest.fixture
def g():
    return Graph()


def delta_rule(g, x, state=(2, 4, 4), n_decay=2, n_beta=2):
    """A delta rule over two heads of four elements."""
    heads, (decay, _), (beta, _) = g.heads(x, 2), g.split(x, n_decay, 8 - n_decay), g.split(x, n_beta, 8 - n_beta)
    return g.delta_rule(heads, heads, heads, decay, beta, state=g.state(0, state))


def choose_keys(g, x, n_head=2, n_head_k=1, n_keys=3):
    """An indexer with two heads of four elements."""
    k = g.heads(g.linear(x, weight("k", 4 * n_head_k, 8)), n_head_k)
    return g.choose_keys(g.heads(x, 2), k, g.linear(x, weight("w", n_head, 8)), layer=0, n_keys=n_keys)


def mla(g, x, chosen):
    return g.mla_attention(g.heads(x, 2), g.heads(g.linear(x, weight("k", 4, 8)), 1), chosen, layer=0, scale=1.0,
                           head_dim_v=4)  # fmt: skip


def test_an_indexer_has_its_own_cache_in_the_group_of_mla(g):
    x = g.embed(weight("token_embd", 32, 8))
    keys = choose_keys(g, x)
    assert (keys.shape, keys.name, mla(g, x, keys).shape) == ((3,), "blk.0.keys", (8,))
    assert [(key, cache.kind) for key, cache in g.caches.items()] == [
        ("blk.0.indexer", "latent"), ("blk.0.kv", "latent")
    ]  # fmt: skip


def test_delta_rule_keeps_the_shape_of_its_values(g):
    x = g.embed(weight("token_embd", 32, 8))
    assert delta_rule(g, x).shape == (2, 4)
    assert g.decay(x, a=weight("a", 2), bias=weight("dt", 8)).shape == (8,)


def generalized(g, x, n_decay=8, state=(2, 4, 4)):
    """A generalized delta rule over two heads of four elements."""
    heads, (decay, _) = g.heads(x, 2), g.split(x, n_decay, 8 - n_decay)
    return g.generalized_delta_rule(heads, heads, heads, decay, heads, heads, state=g.state(0, state))


def test_rwkv_ops(g):
    x = g.embed(weight("token_embd", 32, 8))
    assert generalized(g, x).shape == (2, 4)
    shifted = g.token_shift(x, weight("mix", 3, 8), g.state(0, (8,), "shift"))
    assert [(value.shape, value.name) for value in shifted] == [((8,), f"mix.{j}") for j in range(3)]
    assert g.decay(x, a=None, bias=weight("w0", 8), bound=-0.6).shape == (8,)
    heads = g.heads(x, 2)
    assert g.layer_norm(heads, weight("ln", 8, bias="ln.bias"), eps=1e-5).shape == (2, 4)
    assert g.per_head_linear(heads, weight("r_k", 8)).shape == (2, 1)


def test_records_nodes_and_names(g):
    x = g.embed(weight("token_embd", 32, 8))
    y = g.linear(x, weight("up", 16, 8, bias="up.bias"))
    assert (x.shape, y.shape, y.name) == ((8,), (16,), "up")
    assert [node.op for node in g.nodes] == ["embed", "linear"]
    assert g.nodes[1].attrs["bias"] == ("up.bias",)


def test_operators(g):
    x = g.embed(weight("token_embd", 32, 8))
    y = 2.0 * (x + x) * x
    assert y.shape == (8,)
    assert [node.op for node in g.nodes] == ["embed", "add", "scale", "mul"]


def test_a_factor_for_each_head(g):
    x = g.embed(weight("token_embd", 32, 8))
    y = g.heads(x, 2) * g.linear(x, weight("gate", 2, 8))
    assert y.shape == (2, 4)
    assert [node.op for node in g.nodes][-1] == "scale_heads"


def test_names_stay_unique(g):
    x = g.embed(weight("token_embd", 32, 8))
    names = [g.add(x, x).name for _ in range(3)]
    assert len(set(names)) == 3


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (lambda g, x: g.linear(x, weight("w", 4, 7)), "input of 8"),
        (lambda g, x: g.rms_norm(x, weight("w", 4), eps=1e-5), "norm"),
        (lambda g, x: g.add(x, g.linear(x, weight("w", 4, 8))), "differ"),
        (lambda g, x: g.heads(x, 2) * g.linear(x, weight("w", 4, 8)), "scale_heads: factors"),
        (lambda g, x: g.mul_weight(x, weight("w", 4)), "mul_weight: weight \\(4,\\)"),
        (lambda g, x: g.heads(x, 3), "cannot be split into 3 heads"),
        (lambda g, x: g.split(x, 3, 4), "do not add up"),
        (lambda g, x: g.rope(g.heads(x, 2), style="neox", dims=6, base=1e4), "rope"),
        (lambda g, x: g.rope(g.heads(x, 2), style="spiral", dims=4, base=1e4), "spiral"),
        (lambda g, x: g.causal_conv1d(x, weight("w", 8, 4), g.state(0, (4, 8))), "state"),
        (lambda g, x: g.decay(x, a=weight("a", 3), bias=weight("dt", 8)), "one number is needed for each head"),
        (lambda g, x: g.decay(x, a=weight("a", 2), bias=weight("dt", 2)), "bias"),
        (lambda g, x: g.decay(x, a=weight("a", 2), bias=weight("dt", 8), bound=1), "negative"),
        (lambda g, x: g.decay(x, a=None, bias=weight("w0", 8)), "without a bound a is needed"),
        (lambda g, x: g.token_shift(x, weight("mix", 3, 8), g.state(0, (1, 8))), "token_shift: state"),
        (lambda g, x: g.token_shift(x, weight("mix", 8), g.state(0, (8,))), "token_shift: weight"),
        (lambda g, x: generalized(g, x, n_decay=2), "generalized_delta_rule: q .* decay \\(2,\\)"),
        (lambda g, x: generalized(g, x, state=(2, 4)), "for a state \\(2, 4\\)"),
        (lambda g, x: generalized(g, x, state=(2, 4, 5)), "generalized_delta_rule"),
        (lambda g, x: g.per_head_linear(g.heads(x, 2), weight("r_k", 7)), "cannot be split into 2 rows"),
        (lambda g, x: g.per_head_linear(g.heads(x, 2), weight("r_k", 6)), "does not match heads of 4"),
        (lambda g, x: delta_rule(g, x, state=(2, 5)), "state"),
        (lambda g, x: delta_rule(g, x, state=(2, 4, 5)), "head_dim_k"),
        (lambda g, x: delta_rule(g, x, state=(3, 4, 4)), "head_dim_v"),
        (lambda g, x: delta_rule(g, x, n_decay=4), "decay"),
        (lambda g, x: delta_rule(g, x, n_beta=1), "beta"),
        (lambda g, x: choose_keys(g, x, n_head=3), "weights \\(3,\\)"),
        (lambda g, x: choose_keys(g, x, n_keys=0), "at least 1 is needed"),
        (lambda g, x: choose_keys(g, x, n_head_k=2), "\\(1, head_dim\\)"),
        (lambda g, x: mla(g, x, g.heads(x, 4)), "chosen keys must be \\(n_keys,\\)"),
        (lambda g, x: (choose_keys(g, x), choose_keys(g, x)), "layer 0 already"),
        (lambda g, x: (g.state(0, (1,)), g.state(0, (1,))), "already"),
        (lambda g, x: (g.state(0, (1,), "a"), g.state(0, (2,), "b"), g.state(0, (1,), "a")), "already"),
        (lambda g, x: g.add(x, Graph().embed(weight("t", 32, 8))), "another graph"),
    ],
)
def test_rejects(g, record, message):
    with pytest.raises(GraphError, match=message):
        record(g, g.embed(weight("token_embd", 32, 8)))


def test_one_cache_per_layer(g):
    q = g.heads(g.embed(weight("token_embd", 32, 8)), 2)
    g.attention(q, q, q, layer=0, scale=1.0)
    with pytest.raises(GraphError, match="layer 0"):
        g.attention(q, q, q, layer=0, scale=1.0)


def test_keys_and_values_of_another_layer(g):
    q = g.heads(g.embed(weight("token_embd", 32, 8)), 4)
    kv = g.heads(g.embed(weight("kv", 32, 4)), 2)
    g.attention(q, kv, kv, layer=0, scale=1.0, window=4)
    a = g.attention(q, layer=1, kv_of=0, scale=1.0, window=3)
    assert (a.name, a.shape, len(g.caches)) == ("blk.1.attention", (8,), 1)
    assert (g.nodes[-1].inputs, g.nodes[-1].attrs["cache"]) == ((q.id,), "blk.0.kv")
    for wrong, message in (
        ({"kv_of": 1}, "no layer 1 has cached keys and values before this one"),
        ({"kv_of": 0, "window": 5}, "window=5, but layer 0 keeps the newest 4 keys only"),
        ({"kv_of": 0}, "window=0, but layer 0 keeps"),
        ({"kv_of": 0, "k": kv, "v": kv}, "leave out k and v"),
        ({}, "k and v are needed, or kv_of"),
        ({"k": kv}, "k and v are needed, or kv_of"),
    ):
        with pytest.raises(GraphError, match=message):
            g.attention(q, scale=1.0, **wrong)
    with pytest.raises(GraphError, match="do not match"):
        g.attention(g.heads(g.flatten(q), 2), kv_of=0, scale=1.0, window=4)


OLD_CALLS = {
    "store_source": lambda g, x: ((x, x, g.cache(0, "cross", n_head_kv=2, head_dim=4, head_dim_v=4)), {}),
    "attend_source": lambda g, x: (
        (x, g.cache(0, "cross", n_head_kv=2, head_dim=4, head_dim_v=4)), {"scale": 1.0}
    ),
    "attend_latent": lambda g, x: ((x, x), {"layer": 0, "scale": 1.0, "head_dim_v": 2}),
    "short_conv": lambda g, x: ((g.flatten(x), weight("w", 8, 4), g.state(0, (3, 8))), {}),
    "linear_heads": lambda g, x: ((x, weight("w", 2, 3, 4)), {}),
}  # fmt: skip


@pytest.mark.parametrize("old", RENAMED)
def test_deprecated_names_warn_and_record_the_same(old):
    graphs = []
    for name in (old, RENAMED[old]):
        g = Graph()
        args, options = OLD_CALLS[old](g, g.heads(g.embed(weight("token_embd", 32, 8)), 2))
        if name == old:
            with pytest.warns(DeprecationWarning, match=rf"g\.{old} is now g\.{RENAMED[old]}"):
                getattr(g, name)(*args, **options)
        else:
            getattr(g, name)(*args, **options)
        graphs.append(g)
    assert graphs[0].nodes == graphs[1].nodes
    assert graphs[0].nodes[-1].op == RENAMED[old]
