"""Selective scans on every ISA level and in any chunks: the scalar bits, float64 within 1e-5."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from realizar._kernels import table
from realizar._kernels.plan_recurrent import selective_scan
from tests.kernels.test_ops import same_bits

ISAS = table.available()


def arrays(rng, n, n_head, head_dim, n_group, n_state, together):
    """Return x, dt, b, c, a, d and dt_bias of n tokens."""
    shapes = [(n, n_head * head_dim), (n, n_head), (n, n_group, n_state), (n, n_group, n_state)]
    x, dt, b, c = (rng.standard_normal(shape).astype(np.float32) for shape in shapes)
    a = -np.exp(rng.standard_normal((n_head, 1 if together else n_state))).astype(np.float32)
    return x, dt, b, c, a, *rng.standard_normal((2, n_head)).astype(np.float32)


def scan(x, dt, b, c, a, d, bias, isa, chunks=(0,)):
    """Return the outputs and the final state, computed in chunks that start at these tokens."""
    state = np.zeros(x.shape[1] * b.shape[2], np.float32)
    out = []
    for start, end in zip(chunks, [*chunks[1:], len(x)], strict=True):
        parts = (np.ascontiguousarray(t[start:end]) for t in (x, dt, b, c))
        out.append(selective_scan(*parts, a, d, state, bias, isa))
    return np.concatenate(out), state


def in_float64(x, dt, b, c, a, d, bias):
    x, dt, b, c, a, d = (t.astype(np.float64) for t in (x, dt, b, c, a, d))
    dt = np.logaddexp(0, dt if bias is None else dt + bias)
    (n, n_head), n_group = dt.shape, b.shape[1]
    b, c = (np.repeat(t, n_head // n_group, axis=1) for t in (b, c))
    x = x.reshape(n, n_head, -1)
    h, y = np.zeros((*x.shape[1:], b.shape[2])), np.empty_like(x)
    for t in range(n):
        h = h * np.exp(dt[t, :, None] * a)[:, None] + (dt[t, :, None] * x[t])[..., None] * b[t, :, None]
        y[t] = (h * c[t, :, None]).sum(-1) + d[:, None] * x[t]
    return y.reshape(n, -1)


@st.composite
def calls(draw):
    together = draw(st.booleans())
    n_group = draw(st.sampled_from([1, 2, 3])) if together else 1
    n_head = n_group * draw(st.integers(1, 5)) if together else draw(st.integers(1, 70))
    head_dim = draw(st.integers(1, 70)) if together else 1
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    call = list(arrays(rng, draw(st.integers(1, 80)), n_head, head_dim, n_group, draw(st.integers(1, 20)), together))
    if draw(st.booleans()):
        call[6] = None
    odd = draw(st.sampled_from([None, np.nan, np.inf, -np.inf, 1e-40, 120.0, -200.0]))
    if odd is not None:
        array = call[draw(st.integers(0, 4))]
        array.flat[draw(st.integers(0, array.size - 1))] = odd
    return call


@pytest.mark.parametrize("isa", ISAS[1:])
@settings(max_examples=60, deadline=None)
@given(call=calls(), data=st.data())
def test_same_bits_as_scalar(isa, call, data):
    with np.errstate(all="ignore"):
        want, state = scan(*call, "scalar")
        cut = data.draw(st.integers(0, len(call[0]) - 1))
        found, found_state = scan(*call, isa, (0, cut) if cut else (0,))
    same_bits(found, want)
    same_bits(found_state, state)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("sizes", [(48, 1, 1, 16, False), (3, 40, 3, 12, True), (2, 64, 1, 128, True)], ids=str)
def test_against_float64(isa, sizes):
    call = arrays(np.random.default_rng(0), 70, *sizes)
    want = in_float64(*call)
    assert np.linalg.norm(scan(*call, isa)[0] - want) <= 1e-5 * np.linalg.norm(want)


@pytest.mark.parametrize("isa", ISAS)
def test_softplus(isa):
    """From a zero state and inputs of 1, the output is softplus(dt)."""
    dt = np.concatenate([np.linspace(-80, 100, 3000), np.linspace(-2, 2, 3000)]).astype(np.float32)[None]
    ones, n = np.ones((1, 1, 1), np.float32), dt.shape[1]
    zeros = np.zeros(n, np.float32)
    found = selective_scan(np.ones_like(dt), dt, ones, ones, zeros[:, None], zeros, zeros.copy(), isa=isa)
    want = np.logaddexp(0, dt.astype(np.float64))
    assert (np.abs(found - want) / np.spacing(want.astype(np.float32))).max() <= 3
