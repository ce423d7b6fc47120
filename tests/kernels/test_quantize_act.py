"""Int8 activation rows and their residuals against the numpy definition, on every ISA level."""

import numpy as np
import numpy.typing as npt
import pytest

from realizar._kernels import rows, table
from tests.kernels.blocks import assert_same_bits

pytestmark = pytest.mark.parametrize("isa", table.available())
SHAPES = [(32, 32), (32, 576), (256, 256), (256, 1792)]


def define(x: npt.NDArray[np.float32], block: int) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.float32]]:
    """Return q and d of rows of blocks, computed from the definition."""
    blocks = x.reshape(len(x), -1, block)
    amax = np.abs(blocks).max(-1)
    with np.errstate(all="ignore"):
        small = (amax < np.float32(2.0**-100)) | ~np.isfinite(amax)
        q = np.clip(np.rint(blocks * (np.float32(127) / amax)[..., None]), -127, 127)
        q = np.where(small[..., None], 0, q).astype(np.int8)
        d = np.where(small, np.where(np.isfinite(amax), 0, np.nan), amax / np.float32(127)).astype(np.float32)
    return q.reshape(x.shape), d


@pytest.mark.parametrize(("block", "k"), SHAPES)
@pytest.mark.parametrize("exponent", [0, -30, 30, -44, 38])
def test_definition(isa: str, block: int, k: int, exponent: int) -> None:
    rng = np.random.default_rng(k + exponent + 100)
    with np.errstate(over="ignore", under="ignore"):
        x = (rng.standard_normal((9, k)) * 10.0**exponent).astype(np.float32)
    x[1, :block] = 0
    x[2, 5] = np.nan
    x[3, k - 1] = -np.inf
    x[4] = np.linspace(-127, 127, k)  # many ties
    x[5, ::2] = 1e-40
    q, d, s = rows.quantize_act(x, block, isa)
    expected_q, expected_d = define(x, block)
    np.testing.assert_array_equal(q, expected_q)
    assert_same_bits(d, expected_d)
    group = 32 if block == 32 else 16
    np.testing.assert_array_equal(s, expected_q.reshape(len(x), -1, group).sum(-1, dtype=np.int16))


@pytest.mark.parametrize(("block", "k"), SHAPES)
def test_residual(isa: str, block: int, k: int) -> None:
    """x - d * q, each operation rounded once."""
    rng = np.random.default_rng(k)
    x = rng.standard_normal((9, k)).astype(np.float32)
    x[1, :block] = 0
    x[2, 5] = np.nan
    x[3, k - 1] = -np.inf
    q, d = define(x, block)
    expected = x.reshape(9, -1, block) - d[..., None] * q.reshape(9, -1, block).astype(np.float32)
    assert_same_bits(rows.residual_act(x, block, isa), expected.reshape(x.shape))


def test_errors(isa: str) -> None:
    with pytest.raises(ValueError, match="32 or 256 elements, not 64"):
        rows.quantize_act(np.zeros((1, 64), np.float32), 64, isa)
    with pytest.raises(ValueError, match="positive multiple of it as k, not 48"):
        rows.quantize_act(np.zeros((1, 48), np.float32), 32, isa)
    with pytest.raises(ValueError, match="float32 of shape"):
        rows.quantize_act(np.zeros((1, 32)), 32, isa)
    with pytest.raises(ValueError, match="32 or 256 elements, not 64"):
        rows.residual_act(np.zeros((1, 64), np.float32), 64, isa)
