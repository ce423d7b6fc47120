"""Kernels without weights, on every ISA level: the scalar bits, and float64 within the documented bounds."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from realizar._kernels import table
from realizar._kernels.testing import ops
from realizar.graph import activations
from tests.isa import N_EXAMPLES

FASTER = table.available()[1:]
ISAS = table.available()

any_floats = st.floats(width=32, allow_nan=True, allow_infinity=True)
tame_floats = st.floats(-8, 8, width=32)


def rows_of(n_arrays, elements=any_floats | tame_floats, max_size=70):
    """Draw float32 arrays of one length, with odd tails, NaN, Inf and denormals."""
    return st.integers(1, max_size).flatmap(
        lambda n: st.tuples(*[hnp.arrays(np.float32, n, elements=elements) for _ in range(n_arrays)])
    )


def same_bits(got, want):
    """Assert equality bit by bit; any NaN equals any NaN."""
    np.testing.assert_array_equal(np.isnan(got), np.isnan(want))
    number = ~np.isnan(want)
    np.testing.assert_array_equal(got[number].view(np.uint32), want[number].view(np.uint32))


def rotated(style):
    def call(x, angle, isa):
        half = len(x) // 2
        if not half:
            return x
        cos, sin = np.cos(angle[None, :half]), np.sin(angle[None, :half])
        return ops.rope(x.reshape(1, 1, -1), cos, sin, style, isa=isa)

    return call


def convolved(w, rows, isa):
    n_tap = 1 + len(w) % 4
    n = len(w) // n_tap
    taps, weight = (array[: n * n_tap].reshape(n_tap, n) for array in (rows, w))
    return ops.conv_step(taps, weight, w[:n] if n % 2 else None, isa=isa) if n else w


SLOTS = {
    "rms_norm": lambda x, w, isa: ops.rms_norm(x, w, 1e-6, isa),
    "rms_norm_bare": lambda x, w, isa: ops.rms_norm(x, isa=isa),
    "layer_norm": lambda x, w, isa: ops.layer_norm(x, w, w[::-1], 1e-6, isa),
    "layer_norm_bare": lambda x, w, isa: ops.layer_norm(x, isa=isa),
    "add": lambda x, w, isa: ops.add(x, w, isa),
    "mul": lambda x, w, isa: ops.mul(x, w, isa),
    "scale": lambda x, w, isa: ops.scale(x, float(w[0]), isa),
    "silu": lambda x, w, isa: ops.silu(x, isa),
    "gelu": lambda x, w, isa: ops.gelu(x, isa),
    "gelu_erf": lambda x, w, isa: ops.gelu_erf(x, isa),
    "sigmoid": lambda x, w, isa: ops.sigmoid(x, isa),
    "relu": lambda x, w, isa: ops.relu(x, isa),
    "softplus": lambda x, w, isa: ops.softplus(x, isa),
    "elu": lambda x, w, isa: ops.elu(x, isa),
    "clamp": lambda x, w, isa: ops.clamp(x, abs(float(w[0])), isa),
    "softcap": lambda x, w, isa: ops.softcap(x, float(w[0]), isa),
    "gelu_mul": lambda x, w, isa: ops.gelu_mul(x, w, isa),
    "gelu_erf_mul": lambda x, w, isa: ops.gelu_erf_mul(x, w, isa),
    "swiglu_oai": lambda x, w, isa: ops.swiglu_oai(x, w, isa),
    "silu_mul": lambda x, w, isa: ops.silu_mul(x, w, isa),
    "decay": lambda x, w, isa: ops.decay(x, w, w[::-1].copy(), isa=isa),
    "decay_bounded": lambda x, w, isa: ops.decay(x, w, w[::-1].copy(), -5.0, isa),
    "softmax": lambda x, w, isa: ops.softmax(x, isa),
    "rope_neox": rotated("neox"),
    "rope_norm": rotated("norm"),
    "conv_step": convolved,
    "logit_blocks": lambda x, w, isa: np.concatenate(ops.logit_blocks(np.concatenate([x, w, x]), isa)),
    "logit_weights": lambda x, w, isa: ops.logit_weights(x, float(np.nanmax(x, initial=0)), isa),
}


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("slot", SLOTS)
@settings(max_examples=N_EXAMPLES, deadline=None)
@given(arrays=rows_of(2) | rows_of(2, tame_floats))
def test_same_bits_as_scalar(slot, arrays):
    want = SLOTS[slot](*arrays, "scalar")
    for isa in FASTER:
        same_bits(SLOTS[slot](*arrays, isa), want)


@pytest.mark.parametrize("isa", FASTER)
@pytest.mark.parametrize("slot", SLOTS)
def test_same_bits_on_long_rows(slot, isa):
    x, w = np.random.default_rng(1).standard_normal((2, 4099), np.float32)
    same_bits(SLOTS[slot](3 * x, w, isa), SLOTS[slot](3 * x, w, "scalar"))


@pytest.mark.parametrize("isa", ISAS)
def test_against_float64(isa):
    rng = np.random.default_rng(2)
    x, w, b = 3 * rng.standard_normal((5, 576), np.float32), *rng.standard_normal((2, 576), np.float32)
    wide = x.astype(np.float64)
    centred = wide - wide.mean(-1, keepdims=True)
    sigmoid = 1 / (1 + np.exp(-wide))
    rms = wide / np.sqrt((wide**2).mean(-1, keepdims=True) + 1e-5) * w
    norm = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5) * w + b
    power = np.exp(wide - wide.max(-1, keepdims=True))
    np.testing.assert_allclose(ops.rms_norm(x, w, isa=isa), rms, rtol=1e-5)
    np.testing.assert_allclose(ops.layer_norm(x, w, b, isa=isa), norm, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(ops.softmax(x, isa=isa), power / power.sum(-1, keepdims=True), rtol=1e-5)
    np.testing.assert_allclose(ops.silu(x, isa=isa), wide * sigmoid, rtol=1e-6)
    gelu = wide / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (wide + 0.044715 * wide**3)))
    np.testing.assert_allclose(ops.gelu(x, isa=isa), gelu, rtol=1e-6, atol=1e-12)
    np.testing.assert_allclose(ops.gelu_erf(x, isa=isa), activations.gelu_erf(x), rtol=1e-6, atol=1e-10)
    np.testing.assert_allclose(ops.sigmoid(x, isa=isa), sigmoid, rtol=1e-6)
    np.testing.assert_array_equal(ops.relu(x, isa=isa), np.maximum(x, 0))
    np.testing.assert_allclose(ops.softplus(x, isa=isa), activations.softplus(x), rtol=1e-6)
    np.testing.assert_allclose(ops.elu(x, isa=isa), activations.elu(x), rtol=1e-6)
    np.testing.assert_array_equal(ops.clamp(x, 1.5, isa=isa), np.clip(x, -1.5, 1.5))
    np.testing.assert_allclose(ops.softcap(x, 4.0, isa=isa), 4 * np.tanh(wide / 4), rtol=1e-6)
    np.testing.assert_allclose(ops.gelu_mul(x, x[::-1], isa=isa), gelu * wide[::-1], rtol=1e-6, atol=1e-11)
    step, each = wide + b, -np.abs(w.astype(np.float64))
    a, bias = (np.broadcast_to(t.astype(np.float32), x.shape) for t in (each, b))
    np.testing.assert_allclose(ops.decay(x, a, bias, isa=isa), np.exp(each * np.logaddexp(0, step)), rtol=1e-5)
    bounded = np.exp(-5 / (1 + np.exp(-each * step)))
    np.testing.assert_allclose(ops.decay(x, a, bias, -5.0, isa), bounded, rtol=1e-5)
    gated = activations.gelu_erf(x) * wide[::-1]
    np.testing.assert_allclose(ops.gelu_erf_mul(x, x[::-1], isa=isa), gated, rtol=1e-6, atol=1e-9)
    gated = activations.swiglu_oai(x, x[::-1])
    np.testing.assert_allclose(ops.swiglu_oai(x, x[::-1], isa=isa), gated, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(ops.silu_mul(x, x[::-1], isa=isa), wide * sigmoid * wide[::-1], rtol=1e-6)


@pytest.mark.parametrize("isa", ISAS)
def test_block_summaries_of_logits(isa):
    x = 4 * np.random.default_rng(4).standard_normal(5 * 64 + 7, np.float32)
    x[64:128], x[130], x[192:256] = -np.inf, -np.inf, np.finfo(np.float32).min
    blocks = np.append(x, np.full(57, -np.inf, np.float32)).reshape(-1, 64).astype(np.float64)
    peak = np.maximum(blocks.max(1, keepdims=True), np.finfo(np.float32).min)
    greatest, total, fall = ops.logit_blocks(x, isa=isa)
    weights = np.exp(blocks - peak)
    np.testing.assert_array_equal(greatest, blocks.max(1))
    np.testing.assert_allclose(total, weights.sum(1), rtol=1e-6)
    np.testing.assert_allclose(fall, (weights * np.minimum(peak - blocks, 128)).sum(1), rtol=1e-6)
    np.testing.assert_allclose(ops.logit_weights(x, x.max(), isa=isa), np.exp(x - x.max()), rtol=1e-6, atol=1e-40)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_an_invalid_logit_makes_its_block_sum_nan(isa, bad):
    x = np.zeros(200, np.float32)
    x[70] = bad
    assert np.isnan(ops.logit_blocks(x, isa=isa)[1]).tolist() == [False, True, False, False]


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("style", ["neox", "norm"])
def test_rope_rotates_pairs_and_keeps_the_rest(isa, style):
    x = np.random.default_rng(3).standard_normal((4, 3, 80), np.float32)
    cos, sin = ops.rope_table((10000.0 ** (-np.arange(18) / 18)).astype(np.float32), np.arange(4, dtype=np.float32))
    pairs = x[..., :36].astype(np.float64)
    pairs = pairs.reshape(4, 3, 2, 18) if style == "neox" else pairs.reshape(4, 3, 18, 2).swapaxes(2, 3)
    turned = (pairs[:, :, 0] + 1j * pairs[:, :, 1]) * (cos + 1j * sin.astype(np.float64))[:, None]
    want = np.stack([turned.real, turned.imag], 2 if style == "neox" else 3).reshape(4, 3, 36)
    got = ops.rope(x, cos, sin, style, isa=isa)
    np.testing.assert_allclose(got[..., :36], want, atol=1e-6)
    same_bits(got[..., 36:], x[..., 36:])


def test_softmax_of_a_nan_is_nan_and_of_minus_infinity_is_zero():
    x = np.array([[1, np.nan, 2], [1, -np.inf, 1]], np.float32)
    for isa in ISAS:
        got = ops.softmax(x, isa=isa)
        assert np.isnan(got[0]).all()
        same_bits(got[1], np.array([0.5, 0, 0.5], np.float32))


def test_clear_errors():
    x = np.ones((2, 8), np.float32)
    with pytest.raises(ValueError, match="x: needs a float32 array that is not empty, got float64"):
        ops.rms_norm(x.astype(np.float64))
    with pytest.raises(ValueError, match=r"w: needs shape \(8,\), got \(7,\)"):
        ops.rms_norm(x, x[0, :7])
    with pytest.raises(ValueError, match=r"not empty, got float32 of shape \(0,\)"):
        ops.softmax(x[0, :0])
    with pytest.raises(ValueError, match="5 pairs do not fit into a head of 8 elements"):
        ops.rope(x.reshape(2, 1, 8), x[:, :5], x[:, :5])
    with pytest.raises(ValueError, match="style: 'gptj' is neither"):
        ops.rope(x.reshape(2, 1, 8), x[:, :4], x[:, :4], "gptj")
    with pytest.raises(ValueError, match="instruction set 'mmx' is not available"):
        ops.add(x, x, isa="mmx")
