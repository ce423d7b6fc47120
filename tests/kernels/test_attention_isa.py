"""Attention of every ISA level equals the scalar one bit by bit, for any shapes, bounds and values."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from realizar._kernels import table
from realizar._kernels.kv import KV_TYPES
from realizar._kernels.testing.attention import attention, store
from tests.isa import DEFINED, N_EXAMPLES
from tests.kernels.test_attention import reach_of

FASTER = table.available()[1:]

HEAD_DIMS = st.sampled_from([1, 7, 15, 16, 17, 32, 48, 63, 64, 80, 96, 100, 128, 130, 768])
SPECIAL = np.array([0.0, -0.0, 1e-40, 1e30, -1e30, np.inf, -np.inf, np.nan], np.float32)


def same_bits(got, want):
    """Assert equality bit by bit; any NaN equals any NaN."""
    np.testing.assert_array_equal(np.isnan(got), np.isnan(want))
    number = ~np.isnan(want)
    np.testing.assert_array_equal(got[number].view(np.uint32), want[number].view(np.uint32))


@st.composite
def calls(draw):
    """Draw arguments of attention()."""
    n_tokens = draw(st.integers(1, 40))
    n_keys = n_tokens + draw(st.sampled_from([0, 1, 15, 64, 200, 600]))
    n_head_kv, n_group = draw(st.sampled_from([1, 2])), draw(st.integers(1, 9))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    head_dim_k, head_dim_v = draw(HEAD_DIMS), draw(HEAD_DIMS)
    q = rng.standard_normal((n_tokens, n_head_kv * n_group, head_dim_k), np.float32)
    k = rng.standard_normal((n_keys, n_head_kv, head_dim_k), np.float32)
    v = rng.standard_normal((n_keys, n_head_kv, head_dim_v), np.float32)
    for x in (q, k, v):
        n_special = draw(st.sampled_from([0, 0, 1, 5]))
        x.flat[rng.integers(0, x.size, n_special)] = rng.choice(SPECIAL, n_special)
    options = draw(
        st.fixed_dictionaries(
            {
                "causal": st.booleans(),
                "window": st.sampled_from([0, 0, 1, 3, 20, 64, 100]),
                "chunked": st.booleans(),
                "skip": st.sampled_from([0, 0, 1, 30, 70]),
                "softcap": st.sampled_from([0.0, 0.0, 3.0]),
                "scale": st.sampled_from([None, 0.5]),
                "k_type": st.sampled_from(sorted(KV_TYPES)),
                "v_type": st.sampled_from(sorted(KV_TYPES)),
                "max_queries": st.integers(n_group, 96),
            }
        )
    )
    if draw(st.booleans()):
        borders = sorted(draw(st.sets(st.integers(0, n_tokens), min_size=2)))
        options["reach"] = reach_of(list(pairwise(borders))[:: draw(st.integers(1, 2))], n_tokens)
    if head_dim_v <= min(head_dim_k, 512):
        options["latent"] = draw(st.booleans())
    if draw(st.booleans()):
        shape = (n_head_kv * n_group, 2 * n_keys - 1 + draw(st.sampled_from([0, 2, 34])))
        options["bias"] = rng.standard_normal(shape, np.float32)
    return (q, k, v), options


@pytest.mark.parametrize("isa", FASTER)
@settings(max_examples=N_EXAMPLES, deadline=None)
@given(call=calls())
def test_same_bits_as_scalar(isa, call):
    arrays, options = call
    same_bits(attention(*arrays, isa=isa, **options), attention(*arrays, isa="scalar", **options))


@pytest.mark.parametrize("isa", DEFINED)
@pytest.mark.parametrize("kv_type", ["f32", "f16"])
@pytest.mark.parametrize(("head_dim_k", "head_dim_v"), [(576, 512), (96, 64), (60, 40), (300, 300)])
@pytest.mark.parametrize(("n_head", "n_tokens"), [(1, 70), (96, 20)])
def test_mla_values_inside_their_keys(isa, kv_type, head_dim_k, head_dim_v, n_head, n_tokens):
    rng = np.random.default_rng(0)
    q, k = (rng.standard_normal((n_tokens, n, head_dim_k), np.float32) for n in (n_head, 1))
    v, types = np.ascontiguousarray(k[..., :head_dim_v]), {"k_type": kv_type, "v_type": kv_type}
    want = attention(q, k, v, isa=isa, **types)
    same_bits(attention(q, k, np.zeros_like(v), latent=True, isa=isa, **types), want)


@pytest.mark.parametrize("isa", FASTER)
@pytest.mark.parametrize("kind", ["k", "v"])
@pytest.mark.parametrize("kv_type", sorted(KV_TYPES))
@pytest.mark.parametrize("head_dim", [1, 16, 80, 93])
def test_store_writes_the_same_bits(isa, kind, kv_type, head_dim):
    x = np.random.default_rng(0).standard_normal((21, 2, head_dim), np.float32)
    x[3] *= 1e-6
    x.flat[:8] = SPECIAL
    got, want = store(x, kind, kv_type, isa=isa), store(x, kind, kv_type, isa="scalar")
    if got.dtype == np.uint8:
        np.testing.assert_array_equal(got, want)
    else:
        same_bits(got.astype(np.float32), want.astype(np.float32))
