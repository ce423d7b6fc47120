"""exp, tanh, half precision and rope tables against float64."""

import math

import numpy as np

from realizar._kernels.testing import attention, ops


def ulps(got, exact):
    """Return |got - exact| in units of the float32 spacing at exact."""
    spacing = np.spacing(np.abs(exact).astype(np.float32)).astype(np.float64)
    return np.abs(got.astype(np.float64) - exact) / spacing


def floats_between(low, high, n=200_001):
    return np.linspace(low, high, n).astype(np.float32)


def test_exp_is_within_one_ulp():
    for x in (floats_between(-87, 88.7), floats_between(-1e-3, 1e-3), floats_between(-0.4, 0.4)):
        assert ulps(ops.exp(x), np.exp(x.astype(np.float64))).max() <= 1


def test_exp_rounds_denormals_once():
    x = floats_between(-105, -87)
    assert ulps(ops.exp(x), np.exp(x.astype(np.float64))).max() <= 1


def test_exp_at_the_ends():
    x = np.array([-np.inf, -200, 89, 1e30, np.inf, 0, -0.0], np.float32)
    np.testing.assert_array_equal(ops.exp(x), np.array([0, 0, np.inf, np.inf, np.inf, 1, 1], np.float32))
    assert np.isnan(ops.exp(np.array([np.nan], np.float32))).all()


def test_tanh_is_within_two_ulp():
    for x in (floats_between(-12, 12), floats_between(-1e-3, 1e-3), floats_between(0.5, 0.8)):
        assert ulps(ops.tanh(x), np.tanh(x.astype(np.float64))).max() <= 2


def test_tanh_at_the_ends():
    x = np.array([-np.inf, np.inf, -0.0, 1e-40], np.float32)
    np.testing.assert_array_equal(ops.tanh(x), np.array([-1, 1, -0.0, 1e-40], np.float32))
    assert np.isnan(ops.tanh(np.array([np.nan], np.float32))).all()


def test_gelu_by_erf_keeps_its_digits_where_erf_nears_minus_one():
    for x in (floats_between(-4, 4), floats_between(-1e-3, 1e-3)):
        want = np.array([v / 2 * math.erfc(-v / math.sqrt(2)) for v in x.astype(np.float64)])
        assert (np.abs(ops.gelu_erf(x) - want) <= 6e-7 * np.abs(want)).all()
    x = floats_between(-14, -4, 20_001)
    want = np.array([v / 2 * math.erfc(-v / math.sqrt(2)) for v in x.astype(np.float64)])
    assert np.abs(ops.gelu_erf(x) - want).max() <= 1e-10


def test_gelu_by_erf_at_the_ends():
    x = np.array([-np.inf, -50, 0, 50, np.inf], np.float32)
    np.testing.assert_array_equal(ops.gelu_erf(x), np.array([0, 0, 0, 50, np.inf], np.float32))
    assert np.isnan(ops.gelu_erf(np.array([np.nan], np.float32))).all()


def test_rope_table_is_rounded_from_the_exact_sine_of_the_float_angle():
    positions = np.array([0, 1, 2, 3, 1000, 4095, 131071, 1e6, 16777215], np.float32)
    inv_freq = (10000.0 ** (-np.arange(0, 128, 2) / 128)).astype(np.float32)
    angle = (positions[:, None] * inv_freq).astype(np.float64)
    cos, sin = ops.rope_table(inv_freq, positions)
    np.testing.assert_array_equal(cos, np.cos(angle).astype(np.float32))
    np.testing.assert_array_equal(sin, np.sin(angle).astype(np.float32))


def test_rope_table_multiplies_afterwards():
    inv_freq, positions = np.ones(3, np.float32), np.array([0.5], np.float32)
    cos, sin = ops.rope_table(inv_freq, positions, 1.1)
    plain = ops.rope_table(inv_freq, positions)
    np.testing.assert_array_equal(cos, plain[0] * np.float32(1.1))
    np.testing.assert_array_equal(sin, plain[1] * np.float32(1.1))


def test_halves_round_to_nearest_even_for_every_neighbourhood():
    halves = np.arange(0x7C00, dtype=np.uint16).view(np.float16).astype(np.float32)
    middles = (halves[:-1] + halves[1:]) / 2
    x = np.concatenate([halves, middles, np.nextafter(middles, 0), np.nextafter(middles, np.inf)])
    x = np.concatenate([x, -x, np.array([65519.9, 65520, 1e9, np.inf, -np.inf, np.nan, 1e-30], np.float32)])
    x = x.astype(np.float32).reshape(1, 1, -1)
    with np.errstate(over="ignore"):
        want = x[0, 0].astype(np.float16)
    got = attention.store(x, "v", "f16")[0, 0, 0]
    np.testing.assert_array_equal(np.isnan(got), np.isnan(want))
    np.testing.assert_array_equal(got.view(np.uint16)[~np.isnan(want)], want.view(np.uint16)[~np.isnan(want)])
