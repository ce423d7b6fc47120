"""Scores of an indexer: every ISA level gives the scalar bits, and these are near float64."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from realizar._kernels import table
from realizar._kernels.kv import KV_TYPES
from realizar._kernels.testing.attention import index_scores
from tests.kernels.test_ops import same_bits

ISAS = table.available()


def arrays(n_keys, n_head, head_dim, seed=0):
    rng = np.random.default_rng(seed)
    q, k = (rng.standard_normal((n, head_dim), np.float32) for n in (n_head, n_keys))
    return q, k, rng.standard_normal(n_head, np.float32)


def in_float64(q, k, weights):
    q, k, weights = (array.astype(np.float64) for array in (q, k, weights))
    return weights @ np.maximum(q @ k.T, 0)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("sizes", [(1, 1, 1), (100, 64, 128), (33, 7, 40), (1000, 16, 64)], ids=str)
def test_against_float64(isa, sizes):
    call = arrays(*sizes)
    want = in_float64(*call)
    found = index_scores(*call, "f32", isa)
    assert np.linalg.norm(found - want) <= 1e-6 * np.linalg.norm(want)
    assert np.linalg.norm(index_scores(*call, "f16", isa) - want) <= 2e-3 * np.linalg.norm(want)


@pytest.mark.parametrize("isa", ISAS[1:])
@pytest.mark.parametrize("k_type", sorted(KV_TYPES))
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_same_bits_as_scalar(isa, k_type, data):
    call = arrays(*(data.draw(st.integers(1, most)) for most in (150, 20, 130)), data.draw(st.integers(0, 99)))
    odd = data.draw(st.sampled_from([None, np.nan, np.inf, -np.inf, 1e-40, 1e30]))
    if odd is not None:
        array = call[data.draw(st.integers(0, 2))]
        array.flat[data.draw(st.integers(0, array.size - 1))] = odd
    same_bits(index_scores(*call, k_type, isa), index_scores(*call, k_type, "scalar"))


def test_shapes_must_match():
    q, k, weights = arrays(5, 3, 8)
    with pytest.raises(ValueError, match="n_keys, head_dim"):
        index_scores(q, k[:, :4].copy(), weights)
