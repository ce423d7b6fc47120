"""The delta rules on every ISA level and in any chunks: the scalar bits, float64 within 1e-5."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from realizar._kernels import table
from realizar._kernels.plan_recurrent import delta_rule, generalized_delta_rule
from tests.kernels.test_ops import same_bits

ISAS = table.available()


def arrays(rng, n, n_head_k, n_head, dim_k, dim_v, by_channel):
    """Return q, k, v, decay and beta of n tokens; the keys have length one."""
    q, k = rng.standard_normal((2, n, n_head_k, dim_k)).astype(np.float32)
    k /= np.linalg.norm(k, axis=-1, keepdims=True)
    v = rng.standard_normal((n, n_head, dim_v)).astype(np.float32)
    decay = rng.uniform(0.5, 1, (n, n_head, dim_k if by_channel else 1)).astype(np.float32)
    return q, k, v, decay, rng.uniform(0, 1, (n, n_head)).astype(np.float32)


def run(call, isa, tiled=False, cuts=()):
    """Return the outputs and the final state, computed in chunks that end at these tokens."""
    n, n_head, dim_v = call[2].shape
    state = np.zeros(n_head * dim_v * call[0].shape[2], np.float32)
    pieces = zip((0, *cuts), (*cuts, n), strict=True)
    return np.concatenate([delta_rule(*(a[i:j] for a in call), state, tiled, isa) for i, j in pieces]), state


def in_float64(q, k, v, decay, beta, tiled):
    q, k, v, decay, beta = (array.astype(np.float64) for array in (q, k, v, decay, beta))
    repeats = v.shape[1] // k.shape[1]
    q, k = (np.tile(a, (1, repeats, 1)) if tiled else np.repeat(a, repeats, axis=1) for a in (q, k))
    y, s = np.empty_like(v), np.zeros((*v.shape[1:], k.shape[2]))
    for t in range(len(v)):
        s = s * decay[t, :, None, :]
        answer = (s * k[t, :, None, :]).sum(-1)
        s = s + (beta[t, :, None] * (v[t] - answer))[..., None] * k[t, :, None, :]
        y[t] = (s * q[t, :, None, :]).sum(-1)
    return y


@st.composite
def calls(draw):
    n_head_k = draw(st.integers(1, 3))
    sizes = n_head_k, n_head_k * draw(st.integers(1, 3)), draw(st.integers(1, 40)), draw(st.integers(1, 150))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    call = arrays(rng, draw(st.integers(1, 40)), *sizes, draw(st.booleans()))
    odd = draw(st.sampled_from([None, np.nan, np.inf, -np.inf, 1e-40, 1e30]))
    if odd is not None:
        array = call[draw(st.integers(0, 4))]
        array.flat[draw(st.integers(0, array.size - 1))] = odd
    return call


@pytest.mark.parametrize("isa", ISAS[1:])
@settings(max_examples=60, deadline=None)
@given(call=calls(), tiled=st.booleans(), data=st.data())
def test_same_bits_as_scalar(isa, call, tiled, data):
    cuts = sorted(data.draw(st.sets(st.integers(1, max(1, len(call[0]) - 1)), max_size=3)))
    want, state = run(call, "scalar", tiled)
    found, found_state = run(call, isa, tiled, cuts if len(call[0]) > 1 else ())
    same_bits(found, want)
    same_bits(found_state, state)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("tiled", [False, True])
@pytest.mark.parametrize(
    "sizes", [(2, 4, 128, 128, False), (2, 2, 128, 128, True), (1, 3, 40, 50, False), (3, 3, 24, 70, True)], ids=str
)
def test_against_float64(isa, tiled, sizes):
    call = arrays(np.random.default_rng(0), 150, *sizes)
    want = in_float64(*call, tiled)
    assert np.linalg.norm(run(call, isa, tiled)[0] - want) <= 1e-5 * np.linalg.norm(want)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("n", [1, 7, 64, 100])
def test_same_bits_in_chunks(isa, n):
    call = arrays(np.random.default_rng(1), 257, 2, 4, 128, 128, True)
    want, state = run(call, isa)
    found, found_state = run(call, isa, cuts=range(n, 257, n))
    same_bits(found, want)
    same_bits(found_state, state)


def generalized_arrays(rng, n, n_head, dim_k, dim_v):
    """Return q, k, v, decay, a and b of n tokens, as in RWKV 7: b is -a times a rate, a has length one."""
    q, k, a = rng.standard_normal((3, n, n_head, dim_k)).astype(np.float32)
    a /= np.linalg.norm(a, axis=-1, keepdims=True)
    b = (-a * rng.uniform(0, 1, a.shape)).astype(np.float32)
    decay = rng.uniform(0.55, 1, a.shape).astype(np.float32)
    return q, k, rng.standard_normal((n, n_head, dim_v)).astype(np.float32), decay, a, b


def run_generalized(call, isa, cuts=()):
    """Return the outputs and the final state, computed in chunks that end at these tokens."""
    n, n_head, dim_v = call[2].shape
    state = np.zeros(n_head * dim_v * call[0].shape[2], np.float32)
    pieces = zip((0, *cuts), (*cuts, n), strict=True)
    return np.concatenate([generalized_delta_rule(*(a[i:j] for a in call), state, isa) for i, j in pieces]), state


@st.composite
def generalized_calls(draw):
    sizes = draw(st.integers(1, 40)), draw(st.integers(1, 5)), draw(st.integers(1, 40)), draw(st.integers(1, 150))
    call = generalized_arrays(np.random.default_rng(draw(st.integers(0, 99))), *sizes)
    odd = draw(st.sampled_from([None, np.nan, np.inf, -np.inf, 1e-40, 1e30]))
    if odd is not None:
        array = call[draw(st.integers(0, 5))]
        array.flat[draw(st.integers(0, array.size - 1))] = odd
    return call


@pytest.mark.parametrize("isa", ISAS[1:])
@settings(max_examples=60, deadline=None)
@given(call=generalized_calls(), data=st.data())
def test_generalized_has_the_bits_of_scalar_in_any_chunks(isa, call, data):
    cuts = sorted(data.draw(st.sets(st.integers(1, max(1, len(call[0]) - 1)), max_size=3)))
    want, state = run_generalized(call, "scalar")
    found, found_state = run_generalized(call, isa, cuts if len(call[0]) > 1 else ())
    same_bits(found, want)
    same_bits(found_state, state)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("sizes", [(4, 64, 64), (3, 40, 50), (2, 24, 70)], ids=str)
def test_generalized_against_float64(isa, sizes):
    call = generalized_arrays(np.random.default_rng(0), 150, *sizes)
    q, k, v, decay, a, b = (array.astype(np.float64) for array in call)
    want, s = np.empty_like(v), np.zeros((*v.shape[1:], k.shape[2]))
    for t in range(len(v)):
        removed = (s * a[t, :, None]).sum(-1)
        s = s * decay[t, :, None] + removed[..., None] * b[t, :, None] + v[t][..., None] * k[t, :, None]
        want[t] = (s * q[t, :, None]).sum(-1)
    assert np.linalg.norm(run_generalized(call, isa)[0] - want) <= 1e-5 * np.linalg.norm(want)


@pytest.mark.parametrize("isa", ISAS)
def test_the_gated_rule_is_a_case_of_the_generalized_one(isa):
    """b = -beta k decay, v beta: up to rounding."""
    q, k, v, decay, beta = arrays(np.random.default_rng(2), 100, 3, 3, 64, 64, True)
    want, _ = run((q, k, v, decay, beta), isa)
    written = beta[..., None] * v
    found, _ = run_generalized((q, k, written, decay, k * decay, -beta[..., None] * k), isa)
    np.testing.assert_allclose(found, want, atol=1e-5 * np.abs(want).max())
