"""quantize: ggml's rounding for blocks of 32 elements, a small round-trip error for all formats."""

import gguf
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from realizar.errors import ParameterError
from realizar.quants import FORMATS, dequantize, quantize
from tests.kernels.blocks import OWN

# Formats that the gguf package quantizes and that round as it does; its NVFP4 can only be dequantized.
AS_REFERENCE = [
    name for name in FORMATS if not name.endswith("_K") and name not in (*OWN, "NVFP4") and not name.startswith("IQ")
]
TERNARY = ("Q2_0", "PQ2_0", "PTQ1_0", "TQ1_0", "TQ2_0")
QUANTIZED = [name for name in FORMATS if FORMATS[name].n_elements > 1]

# Relative rms error for normally distributed values; about that of ggml's quantizers.
ERROR = {
    "F32": 0.0,
    "F16": 2.2e-4,
    "BF16": 1.8e-3,
    "Q4_0": 0.088,
    "Q4_1": 0.081,
    "Q5_0": 0.044,
    "Q5_1": 0.039,
    "Q8_0": 0.0056,
    "Q2_K": 0.275,
    "Q3_K": 0.147,
    "Q4_K": 0.073,
    "Q5_K": 0.037,
    "Q6_K": 0.018,
    "MXFP4": 0.117,
    "IQ4_NL": 0.077,
    "IQ4_XS": 0.078,
    "IQ3_XXS": 0.185,
    "IQ3_S": 0.136,
    "IQ2_XXS": 0.335,
    "IQ2_XS": 0.295,
    "IQ2_S": 0.245,
    "IQ1_S": 0.46,
    "IQ1_M": 0.425,
    "NVFP4": 0.1,
    "Q1_0": 0.61,
    "Q2_0": 0.78,
    "PQ2_0": 0.85,
    "PTQ1_0": 0.85,
    "TQ1_0": 0.9,
    "TQ2_0": 0.9,
}


def rms(x):
    return float(np.sqrt(np.mean(np.square(x, dtype=np.float64))))


def normal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def reference(x, name):
    return gguf.quants.quantize(x, gguf.GGMLQuantizationType[name]).view(np.uint8)


@pytest.mark.parametrize("name", AS_REFERENCE)
def test_matches_reference(name):
    x = normal(64, 512) * np.exp(normal(64, 1, seed=1) * 3)
    x[3] = 0
    x[4, ::2] = 0
    np.testing.assert_array_equal(quantize(x, name), reference(x, name))


@pytest.mark.parametrize("name", TERNARY)
def test_ternary_values_are_exact(name):
    d = np.float32(0.375)
    x = np.random.default_rng(7).integers(-1, 2, (3, 512)).astype(np.float32) * d
    np.testing.assert_array_equal(dequantize(quantize(x, name), name), x)


def test_one_bit_is_the_sign_and_the_mean_magnitude():
    x = np.concatenate([np.full(64, 0.25), np.full(64, -0.75)]).astype(np.float32)[None]
    np.testing.assert_array_equal(dequantize(quantize(x, "Q1_0"), "Q1_0"), np.sign(x) * np.float32(0.5))


def test_eight_bit_scales_round_to_the_nearest():
    """Groups whose largest value is 6 times a scale: exact ones, ties upwards, the smallest and largest, too large."""
    scales = np.array([1.0, 1.0625, 1.125, 2.0**-9, 2.0**-10, 448.0, 1e6, 0.0])
    x = np.zeros((1, 128), np.float32)
    x[0, ::16] = 6 * scales
    found = dequantize(quantize(x, "NVFP4"), "NVFP4")[0, ::16] / 6
    np.testing.assert_allclose(found, [1, 1.125, 1.125, 2.0**-9, 2.0**-10, 448, 448, 0], rtol=1e-6)


@pytest.mark.parametrize("name", AS_REFERENCE)
@settings(deadline=None)
@given(data=st.data())
def test_matches_reference_for_any_values(name, data):
    k = max(64, FORMATS[name].n_elements)
    elements = st.floats(-1e3, 1e3, width=32, allow_subnormal=False)
    x = data.draw(hnp.arrays(np.float32, (2, k), elements=elements))
    # If 1 / scale overflows, the reference computes with infinities and its bytes are meaningless.
    x[np.abs(x) < 1e-30] = 0
    np.testing.assert_array_equal(quantize(x, name), reference(x, name))


@pytest.mark.parametrize("name", ERROR)
@pytest.mark.parametrize("scale", [1.0, 1e-3, 40.0])
def test_round_trip_error(name, scale):
    # Files of NVFP4 have a factor for each tensor, since scales below 2^-9 are zero.
    x = normal(64, 1024) * np.float32(max(scale, 0.25) if name == "NVFP4" else scale)
    error = rms(dequantize(quantize(x, name), name) - x) / rms(x)
    # float16 scales below 6e-5 are denormal, so small scales have a larger bound.
    assert error <= ERROR[name] * (1.3 if scale == 1e-3 else 1.0)


@pytest.mark.parametrize("name", ["Q3_K", "Q4_K", "Q5_K", "Q6_K"])
def test_k_quants_have_a_smaller_error_than_legacy_formats(name):
    legacy = {"Q3_K": "Q2_K", "Q4_K": "Q4_1", "Q5_K": "Q5_1", "Q6_K": "Q5_1"}[name]
    x = normal(32, 1024, seed=5)
    error = {n: rms(dequantize(quantize(x, n), n) - x) for n in (name, legacy)}
    assert error[name] < error[legacy]


@pytest.mark.parametrize("name", [name for name in QUANTIZED if name != "NVFP4"])  # its largest value is 2688
@settings(deadline=None, max_examples=25)
@given(
    x=hnp.arrays(
        np.float32,
        (1, 256),
        elements=st.one_of(
            st.floats(-6e4, 6e4, width=32), st.sampled_from([0.0, -0.0, 2.0**-126, -(2.0**-149), 1.0, 3e4])
        ),
    )
)
def test_error_is_bounded_by_the_range(name, x):
    y = dequantize(quantize(x, name), name)
    assert np.isfinite(y).all()
    # Rounding halves the step; coarse scales and minima add as much again.
    # MXFP4 has no value between 6 and 8, the first value of the next exponent.
    levels = {"Q2_K": 4, "Q3_K": 8, "MXFP4": 9, "IQ4_XS": 12, "Q1_0": 1, **dict.fromkeys(TERNARY, 2)}.get(name, 16)
    # Where the number of signs must be even, an element may get the wrong one.
    levels = 1.5 if name in ("IQ3_XXS", "IQ2_XXS", "IQ2_XS") else {"IQ3": 6, "IQ2": 3, "IQ1": 2}.get(name[:3], levels)
    # Values this small have scales between two float16 numbers: Q6_K's largest is 128 * 32 times its float16.
    smallest = 1e-3
    assert np.abs(y - x).max() <= 2.4 / levels * max(float(np.abs(x).max()), smallest)


@pytest.mark.parametrize("name", FORMATS)
def test_requantization_is_exact(name):
    once = dequantize(quantize(normal(4, 512), name), name)
    again = dequantize(quantize(once, name), name)
    bound = {"Q2_K": 0.03, "Q3_K": 0.03, "Q4_K": 0.02, "Q5_K": 0.01, "Q6_K": 0.006}.get(name, 1e-3)
    bound = {"IQ4": 0.01, "IQ3": 0.03, "IQ2": 0.03, "IQ1": 0.1}.get(name[:3], bound)
    assert rms(again - once) <= bound * rms(once)


def test_bf16_preserves_nan():
    x = np.array([[0x7F800001, 0xFFFFFFFF, 0x7FFFFFFF, 0x7F800000]], np.uint32).view(np.float32)
    y = dequantize(quantize(x, "BF16"), "BF16")
    np.testing.assert_array_equal(np.isnan(y), [[True, True, True, False]])


@pytest.mark.parametrize("name", QUANTIZED)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_non_finite_values(name, bad):
    x = normal(1, 256)
    x[0, 17] = bad
    with pytest.raises(ParameterError, match="infinite or NaN"):
        quantize(x, name)


@pytest.mark.parametrize("name", [name for name in QUANTIZED if name not in ("MXFP4", "NVFP4")])
def test_too_large_for_a_float16_scale(name):
    with pytest.raises(ParameterError, match="65504"):
        quantize(normal(1, 256) * np.float32(1e20), name)


@pytest.mark.parametrize(("shape", "name"), [((2, 33), "Q4_0"), ((), "Q4_0"), ((256, 128), "Q4_K")])
def test_row_length_must_be_a_multiple_of_the_block(shape, name):
    with pytest.raises(ParameterError, match="multiple of"):
        quantize(np.zeros(shape, np.float32), name)
