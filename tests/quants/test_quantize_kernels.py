"""The quantizers in C: their errors, the reference's bytes, and the same bytes for any ISA level and thread count."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from realizar._kernels import table
from realizar._kernels.plan import Pool
from realizar._kernels.quantize import TARGETS, quantize
from realizar.quants import FORMATS, dequantize
from realizar.quants import quantize as reference

Floats = npt.NDArray[np.float32]

AS_REFERENCE = ("F32", "F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q1_0", "Q2_0", "TQ1_0", "TQ2_0", "NVFP4")
SEARCHED = [name for name in TARGETS if name not in AS_REFERENCE]

# Relative rms error for normally distributed values without importances: a little above what we measure, and below what
# llama.cpp b8000's quantizers reach but for the legacy formats, where both give the same bytes.
ERROR = {
    "Q4_0": 0.0875, "Q4_1": 0.0795, "Q5_0": 0.0435, "Q5_1": 0.0385, "Q8_0": 0.0056,
    "Q2_K": 0.268, "Q3_K": 0.1455, "Q4_K": 0.0712, "Q5_K": 0.0352, "Q6_K": 0.0176, "MXFP4": 0.113,
    "IQ4_NL": 0.08, "IQ4_XS": 0.08, "IQ3_S": 0.14, "IQ3_XXS": 0.19, "IQ2_S": 0.28, "IQ2_XS": 0.33, "IQ2_XXS": 0.38,
    "IQ1_M": 0.425, "IQ1_S": 0.46,
}  # fmt: skip


def normal(*shape: int, seed: int = 0) -> Floats:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def made(x: Floats, name: str, importances: Floats | None = None, n_threads: int = 1, isa: str | None = None) -> Any:
    return quantize(Pool(n_threads), x.view(np.uint8), "F32", name, x.shape[1], importances, isa)


def rms(x: Floats, importances: Floats | float = 1.0) -> float:
    return float(np.sqrt(np.mean(np.square(x, dtype=np.float64) * importances)))


@pytest.mark.parametrize("name", AS_REFERENCE)
def test_bytes_of_the_reference(name: str) -> None:
    x = normal(40, 256 if FORMATS[name].n_elements > 32 else 256 + 32) * np.exp(normal(40, 1, seed=1) * 3)
    x[3] = 0
    x[4, ::2] = 0
    x[5, :32] = -0.25
    x[6, ::2], x[6, 1::2] = 0.5, -0.5  # the first of the extremes counts
    x[7, ::2], x[7, 1::2] = -0.5, 0.5
    x[8] = np.abs(x[8])
    x[8, 3::5] = 0
    np.testing.assert_array_equal(made(x, name), reference(x, name))


@pytest.mark.parametrize("name", ERROR)
def test_error(name: str) -> None:
    x = normal(64, 1024)
    assert rms(dequantize(made(x, name), name) - x) <= ERROR[name] * rms(x)


@pytest.mark.parametrize("name", SEARCHED)
def test_error_is_not_above_that_of_the_numpy_search(name: str) -> None:
    x = np.random.default_rng(2).standard_t(4, (32, 1024)).astype(np.float32)
    ours, numpys = (rms(dequantize(q, name) - x) for q in (made(x, name), reference(x, name)))
    assert ours <= 1.001 * numpys


@pytest.mark.parametrize("name", [name for name in ERROR if name not in ("Q8_0", "MXFP4")])
def test_importances_reduce_the_weighted_error(name: str) -> None:
    x, importances = normal(32, 1024), np.exp(normal(1, 1024, seed=3) * 1.5)
    plain, weighted = (rms(dequantize(q, name) - x, importances) for q in (made(x, name), made(x, name, importances)))
    assert weighted < 0.98 * plain


@pytest.mark.parametrize("name", [name for name in ERROR if name not in ("Q8_0", "MXFP4")])
def test_one_column_that_matters(name: str) -> None:
    """Its elements are near what the format can say, though most are far from the extremes of their groups."""
    x, importances = normal(64, 512), np.zeros((1, 512), np.float32)
    importances[0, 100] = 3
    y = dequantize(made(x, name, importances), name)
    assert rms(y[:, 100] - x[:, 100]) <= (0.2 if name.startswith(("IQ", "Q2")) else 0.03) * rms(x[:, 100])


@pytest.mark.parametrize("name", ERROR)
@pytest.mark.parametrize("factor", [2.0**-110, 2.0**90])
def test_only_the_ratios_of_importances_count(name: str, factor: float) -> None:
    x, importances = normal(5, 512), np.exp(normal(1, 512, seed=3))
    wanted = made(x, name, importances)
    np.testing.assert_array_equal(made(x, name, importances * np.float32(factor)), wanted)
    for alike in (1e-42, 3e38):
        importances[:] = alike
        np.testing.assert_array_equal(made(x, name, importances), made(x, name, np.ones_like(importances)))


@pytest.mark.parametrize("name", ERROR)
def test_each_expert_has_its_own_importances(name: str) -> None:
    x, importances = normal(6, 512), np.exp(normal(3, 512, seed=3))
    each = [made(x[2 * e : 2 * e + 2], name, importances[e : e + 1]) for e in range(3)]
    np.testing.assert_array_equal(made(x, name, importances), np.concatenate(each))


@pytest.mark.parametrize("with_importances", [False, True])
@pytest.mark.parametrize("name", TARGETS)
def test_same_bytes_on_every_level_with_any_threads(name: str, with_importances: bool) -> None:
    x = normal(37, 768) * np.exp(normal(37, 1, seed=1))
    x[:, 40:80] = 0
    importances = np.exp(normal(1, 768, seed=3)) if with_importances else None
    wanted = made(x, name, importances, isa="scalar")
    for isa in table.available():
        np.testing.assert_array_equal(made(x, name, importances, 3, isa), wanted)


@pytest.mark.parametrize("with_importances", [False, True])
@pytest.mark.parametrize("name", SEARCHED)
def test_unusual_groups(name: str, with_importances: bool) -> None:
    x = np.zeros((8, 256), np.float32)
    x[1] = 0.5
    x[2] = -0.5
    x[3, 7] = 1
    x[4] = 1e-30
    x[5] = np.linspace(100, 101, 256)
    x[6, ::3] = -3e4
    x[7] = 2.0**-20
    importances = np.zeros((1, 256), np.float32) if with_importances else None
    y = dequantize(made(x, name, importances), name)
    assert np.isfinite(y).all()
    assert np.abs(y[[0, 4]]).max() <= 2e-30
    levels = {"Q2_K": 3, "Q3_K": 4, "IQ3_S": 2.5, "IQ3_XXS": 2.5}.get(
        name, 1.2 if name.startswith(("IQ1", "IQ2")) else 6
    )
    assert (np.abs(y - x).max(axis=1) <= np.abs(x).max(axis=1) / levels + 1e-6).all()


@pytest.mark.parametrize("name", ["Q4_K", "Q6_K", "Q3_K", "Q4_0"])
def test_values_of_the_format_stay(name: str) -> None:
    x = dequantize(made(normal(16, 512), name), name)
    assert rms(dequantize(made(x, name), name) - x) <= 0.003 * rms(x)


@pytest.mark.parametrize("sigma", [0, 1.5, 3])
def test_q6_k_again(sigma: float) -> None:
    """Below the error of ggml 0.25.3, 0.0004 to 0.0005; small scales are half floats with few bits."""
    x = dequantize(reference(normal(64, 1024) * np.float32(0.01), "Q6_K"), "Q6_K")
    importances = np.exp(normal(1, 1024, seed=1) * np.float32(sigma))
    error = rms(dequantize(made(x, "Q6_K", importances), "Q6_K") - x, importances / importances.mean())
    assert error <= 0.0004 * rms(x)


@pytest.mark.parametrize("sigma", [0, 1.5, 4])
def test_q6_k_again_with_one_large_weight(sigma: float) -> None:
    """Block 62, 8 of blk.3.ffn_down of Qwen2.5-Coder-0.5B: any scale suits a group with one weight; the greatest code
    leaves most room for the others, which are whole numbers times d."""
    d, rng = np.float32(np.float16(0.00051)), np.random.default_rng(3)
    groups = rng.integers(-30, 31, (8, 16, 16)) * (rng.random((8, 16, 1)) < 0.6)
    groups[:, 12] = 0
    groups[:, 12, 3] = 32 * 128
    x = (groups * d).astype(np.float32).reshape(8, 256)
    importances = np.exp(normal(1, 256, seed=1) * np.float32(sigma))
    y = dequantize(made(x, "Q6_K", importances if sigma else None), "Q6_K")
    others = np.abs(x) < 1
    assert rms((y - x)[others]) <= 0.005 * rms(x[others])
    assert np.abs((y - x)[~others]).max() <= 1e-3


def test_a_rejected_round_may_overflow() -> None:
    x = normal(1, 256, seed=6)
    x *= np.float32(0.955 * 65504 * 128 * 32) / np.abs(x).max()
    assert rms(dequantize(made(x, "Q6_K"), "Q6_K") - x) <= 0.02 * rms(x)


@pytest.mark.parametrize("source", FORMATS)
def test_from_every_format(source: str) -> None:
    stored = reference(normal(4, 256), source)
    x = dequantize(stored, source)
    np.testing.assert_array_equal(quantize(Pool(2), stored, source, "Q6_K", 256), made(x, "Q6_K"))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_non_finite_values(bad: float) -> None:
    x = normal(3, 256)
    x[1, 17] = bad
    with pytest.raises(ValueError, match="infinite or NaN"):
        made(x, "Q4_K")


@pytest.mark.parametrize("name", [name for name in TARGETS if name not in ("F32", "BF16", "MXFP4")])
def test_too_large_for_a_half_float(name: str) -> None:
    with pytest.raises(ValueError, match=f"too large for {name}"):
        made(normal(3, 256) * np.float32(1e20), name)


@pytest.mark.parametrize("name", [name for name in TARGETS if name not in ("F32", "BF16", "MXFP4")])
def test_one_value_whose_square_is_infinite(name: str) -> None:
    x = normal(1, 256)
    x[0, 3] = 1e30
    with pytest.raises(ValueError, match=f"too large for {name}"):
        made(x, name)


def test_too_large_for_bfloat16() -> None:
    x = np.full((1, 256), np.finfo(np.float32).max, np.float32)
    with pytest.raises(ValueError, match="too large for BF16"):
        made(x, "BF16")


def test_mxfp4_of_values_whose_squares_are_infinite() -> None:
    x = np.tile(np.float32([6e25, -3e25, 0, 1.5e25]), 64)[None]
    found = dequantize(made(x, "MXFP4"), "MXFP4")
    assert np.abs(found - x).max() <= 0.25 * np.abs(x).max()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -1.0])
def test_importances_that_cannot_be_used(bad: float) -> None:
    importances = np.ones((1, 256), np.float32)
    importances[0, 7] = bad
    with pytest.raises(ValueError, match="importances must be finite and not negative"):
        quantize(Pool(1), normal(3, 256).view(np.uint8), "F32", "Q4_K", 256, importances)


def test_arguments_that_do_not_fit() -> None:
    x = normal(3, 256).view(np.uint8)
    with pytest.raises(ValueError, match="no quantizer from 'F32' to 'Q9'"):
        quantize(Pool(1), x, "F32", "Q9", 256)
    with pytest.raises(ValueError, match="must be uint8"):
        quantize(Pool(1), x[:, 4:], "F32", "Q4_K", 256)
    with pytest.raises(ValueError, match="importances of shape"):
        quantize(Pool(1), x, "F32", "Q4_K", 256, np.ones((2, 256), np.float32))
    with pytest.raises(ValueError, match="multiple of 256"):
        quantize(Pool(1), x[:, :128], "F32", "Q4_K", 32)
    assert quantize(Pool(1), x[:0], "F32", "Q4_K", 256).shape == (0, 144)
