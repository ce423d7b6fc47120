"""T5's buckets against their definition, ALiBi's slopes against the paper, scales of queries by position."""

import numpy as np
import pytest

from realizar.arch.architecture import WeightRef
from realizar.errors import GraphError
from realizar.graph import Graph
from realizar.graph.position import alibi_slopes, bucket_of, position_bias, position_scales


def test_small_distances_have_their_own_buckets():
    assert bucket_of(np.arange(-15, 1), 32, causal=True).tolist() == list(range(15, -1, -1))
    assert bucket_of(np.arange(-7, 8), 32, causal=False).tolist() == [*range(7, -1, -1), *range(17, 24)]


@pytest.mark.parametrize("causal", [True, False])
def test_large_distances_share_buckets(causal):
    n = 32 if causal else 16
    buckets = bucket_of(-np.arange(400), 32, causal)
    assert (np.diff(buckets) >= 0).all()
    assert (buckets[128:] == n - 1).all()
    assert buckets[n // 2 * 2] > buckets[n // 2]


def test_future_keys_have_no_bias_in_causal_attention():
    assert bucket_of(np.arange(1, 200), 32, causal=True).any() == False  # noqa: E712
    assert (bucket_of(np.arange(1, 200), 32, causal=False) >= 16).all()


def test_slopes():
    assert alibi_slopes(8, 8.0).tolist() == [2.0**-h for h in range(1, 9)]
    assert alibi_slopes(12, 8.0)[8:].tolist() == pytest.approx([2.0 ** -(h + 0.5) for h in range(4)])
    assert alibi_slopes(1, 8.0).tolist() == [2.0**-8]


def test_bias_by_head_and_distance():
    attrs = {"alibi": 8.0, "causal": False}
    bias = position_bias(attrs, None, 4, 3)
    assert bias[0].tolist() == [-0.5, -0.25, 0.0, -0.25, -0.5]
    learned = np.arange(64, dtype=np.float32).reshape(32, 2)
    assert position_bias({**attrs, "alibi": 0.0}, learned, 2, 3)[1].tolist() == [5.0, 3.0, 1.0, 35.0, 37.0]
    assert position_bias({**attrs, "alibi": 0.0}, None, 2, 3) is None


@pytest.mark.parametrize(("causal", "n_bucket"), [(True, 1), (True, 256), (False, 3), (False, 512)])
def test_invalid_numbers_of_buckets_are_rejected(causal, n_bucket):
    g = Graph()
    x = g.value("x", (4, 8))
    buckets = WeightRef("attn_rel_b", (n_bucket, 4), None)
    with pytest.raises(GraphError, match=f"{n_bucket} buckets"):
        g.attention(x, x, x, scale=1.0, causal=causal, buckets=buckets)


def test_position_scales():
    attrs = {"factor": 0.1, "period": 16, "offset": 0}
    found = position_scales(attrs, np.array([0, 15, 16, 47, 48]))
    assert found.tolist() == pytest.approx([1, 1, *(1 + 0.1 * np.log([2, 3, 4]))])
    assert position_scales({**attrs, "offset": 1}, np.array([14, 15])).tolist() == pytest.approx([1, found[2]])


@pytest.mark.parametrize("wrong", [{"period": 0}, {"period": 16, "offset": -1}])
def test_invalid_position_scales_are_rejected(wrong):
    with pytest.raises(GraphError, match="at least 1 and 0 are needed"):
        Graph().position_scale(factor=0.1, **wrong)
