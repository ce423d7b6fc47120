"""Expert routing in numpy: chosen experts and weights, against hand-computed examples."""

import numpy as np
import pytest

from realizar.arch.architecture import WeightRef
from realizar.errors import GraphError
from realizar.graph import Graph, routing

PLAIN = {"n_used": 2, "n_group": 1, "n_group_used": 1, "n_group_best": 1}


def choose(logits, bias=None, **attrs):
    bias = None if bias is None else np.array(bias, np.float32)
    return routing.choose(np.array([logits], np.float32), {**PLAIN, "gating": "softmax", **attrs}, bias)[0].tolist()


def weigh(logits, ids, **attrs):
    attrs = {"gating": "softmax", "normalize": False, "scale": 1.0, **attrs}
    return routing.weigh(np.array([logits], np.float32), np.array([ids], np.float32), attrs)[0]


def test_ties_go_to_the_lower_id():
    assert choose([1, 3, 3, 3]) == [1, 2]
    assert choose([2, 2, 2, 2]) == [0, 1]


def test_bias_affects_the_choice_only():
    assert choose([1, 2, 0, 0], bias=[0, 0, 0, 5], gating="sigmoid") == [3, 1]
    assert np.allclose(weigh([1, 2, 0, 0], [3, 1], gating="sigmoid"), [0.5, 1 / (1 + np.exp(-2))])


@pytest.mark.parametrize(("best", "want"), [(1, [0, 1]), (2, [2, 3])])
def test_groups_by_their_best_scores(best, want):
    """The greatest score is in the first group, the greatest sum of two scores in the second."""
    logits = [5, -9, 4.9, 4.8]
    assert choose(logits, gating="softmax_chosen", n_group=2, n_group_used=1, n_group_best=best) == want


def test_weights():
    logits, ids = [1.0, 2.0, 3.0, 0.0], [2, 1]
    p = np.exp(logits) / np.exp(logits).sum()
    assert np.allclose(weigh(logits, ids), p[ids])
    assert np.allclose(weigh(logits, ids, normalize=True, scale=2.5), 2.5 * p[ids] / p[ids].sum())
    assert np.allclose(weigh(logits, ids, gating="softmax_chosen"), p[ids] / p[ids].sum())
    own = routing.weigh(
        np.array([logits]), np.array([ids]), {"gating": "softmax", "normalize": True, "scale": 2.0}, np.arange(4.0)
    )
    assert np.allclose(own, 2.0 * p[ids] / p[ids].sum() * ids)


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (lambda g, x: g.route(x, 9), "9 experts out of 8"),
        (lambda g, x: g.route(x, 2, gating="hard"), "hard"),
        (lambda g, x: g.route(x, 2, n_group=3), "3 groups"),
        (lambda g, x: g.route(x, 5, n_group=2), "5 experts out of 4"),
        (lambda g, x: g.route(x, 2, bias=WeightRef("b", (7,), None)), "bias"),
        (lambda g, x: g.route(x, 2, expert_scale=WeightRef("s", (7,), None)), "weigh_experts: scales"),
        (lambda g, x: experts(g, x, activation="tanh"), "tanh"),
        (lambda g, x: experts(g, x, activation="relu", limit=7.0), "limit=7 is for activation"),
        (lambda g, x: experts(g, x, up=(4, 16, 8)), "experts: gate"),
        (lambda g, x: experts(g, x, down=(3, 8, 12)), "experts: gate"),
    ],
)
def test_rejects(record, message):
    g = Graph()
    with pytest.raises(GraphError, match=message):
        record(g, g.embed(WeightRef("token_embd", (32, 8), None)))


def experts(g, x, activation="silu", up=(4, 12, 8), down=(4, 8, 12), limit=0.0):
    gate, up, down = (WeightRef(n, shape, None) for n, shape in (("g", (4, 12, 8)), ("u", up), ("d", down)))
    return g.experts(x, g.route(x, 2), gate=gate, up=up, down=down, activation=activation, limit=limit)


def test_shapes():
    g = Graph()
    x = g.embed(WeightRef("token_embd", (32, 8), None))
    assert experts(g, x, down=(4, 6, 12)).shape == (6,)
    assert [v.shape for v in g.route(x, 3)] == [(3,), (3,)]
