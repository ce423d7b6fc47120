"""Products of every format: each ISA level and shape gives the scalar bits, and these are near float64."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from realizar._kernels import rows, table
from tests.isa import N_EXAMPLES, every
from tests.kernels.blocks import SCALES_AT, Bytes, Floats, assert_same_bits, block_shape, expand, random_rows

FORMATS = list(rows.ACT_BLOCK)
KINDS = [("int8", "gemv"), ("int8", "gemm"), ("f32", "gemm")]
ULP = 2.0**-23


def some_k(name: str, size: int) -> int:
    """Return a number of elements that the format allows, with an odd tail if it may have one."""
    elements = block_shape(name)[0]
    return (37 if elements == 1 else elements) * size


def check_same_bits(name: str, data: Bytes, x: Floats) -> None:
    for activations, shape in KINDS:
        expected = rows.matmul(name, data, x, activations, "gemv", "scalar")
        for isa in table.available():
            assert_same_bits(rows.matmul(name, data, x, activations, shape, isa), expected)


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("n", every(2, [*range(1, 14), 16, 23, 24, 25, 40]))
def test_same_bits_tokens(name: str, n: int) -> None:
    rng = np.random.default_rng(n)
    k = some_k(name, 3)
    x = rng.standard_normal((n, k)).astype(np.float32)
    check_same_bits(name, random_rows(name, 21, k, rng), x)


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("n_rows", every(2, [*range(1, 18), 31, 32, 33, 50]))
def test_same_bits_rows(name: str, n_rows: int) -> None:
    rng = np.random.default_rng(n_rows)
    k = some_k(name, 2)
    x = rng.standard_normal((5, k)).astype(np.float32)
    check_same_bits(name, random_rows(name, n_rows, k, rng), x)


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("size", every(2, [1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 18, 33]))
def test_same_bits_with_extreme_scales(name: str, size: int) -> None:
    rng = np.random.default_rng(size)
    k = some_k(name, size)
    x = rng.standard_normal((17, k)).astype(np.float32) * 10 ** rng.uniform(-20, 20, (17, 1)).astype(np.float32)
    x[3, k // 2] = np.nan
    x[4, 0] = np.inf
    x[5] = 0
    check_same_bits(name, random_rows(name, 35, k, rng, wild=True), x)


@pytest.mark.parametrize("name", [name for name, block in rows.ACT_BLOCK.items() if block])
@pytest.mark.parametrize(
    ("size", "n"), [(4352, 40), *(pytest.param(*each, marks=pytest.mark.slow) for each in ((4352, 50), (8448, 130)))]
)
def test_same_bits_slices(name: str, size: int, n: int) -> None:
    """Rows of several slices, few and many tokens, and more tokens than are packed at once."""
    rng = np.random.default_rng(n)
    k = size + (block_shape(name)[0] if rows.ACT_BLOCK[name] == 32 else 0)
    data, x = random_rows(name, 34, k, rng), rng.standard_normal((n, k)).astype(np.float32)
    expected = rows.matmul(name, data, x, "int8", "gemv", "scalar")
    for isa in table.available():
        assert_same_bits(rows.matmul(name, data, x, "int8", "gemm", isa), expected)


@given(st.data())
@settings(max_examples=N_EXAMPLES, deadline=None)
def test_same_bits_for_any_shape(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(FORMATS))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    k = some_k(name, data.draw(st.integers(1, 12)))
    n, n_rows = data.draw(st.integers(1, 40)), data.draw(st.integers(1, 40))
    x = rng.standard_normal((n, k)).astype(np.float32)
    check_same_bits(name, random_rows(name, n_rows, k, rng, data.draw(st.booleans())), x)


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("extreme", [0x00, 0xFF, 0x80, 0x7F])
def test_same_bits_extreme_integers(name: str, extreme: int) -> None:
    """Every weight and activation at its limit: the largest sums must not saturate."""
    k = some_k(name, 4)
    data = random_rows(name, 18, k, np.random.default_rng(0))
    tame = random_rows(name, 18, k, np.random.default_rng(0))
    if name not in ("F32", "F16", "BF16"):
        size = block_shape(name)[1]
        at = np.delete(np.arange(size), [byte for first in SCALES_AT[name] for byte in (first, first + 1)])
        data.reshape(18, -1, size)[..., at] = extreme
        data[::2] = tame[::2]
    x = np.where(np.arange(13)[:, None] % 2, 1, -1) * np.ones((13, k), np.float32)
    check_same_bits(name, data, x.astype(np.float32))


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("size", [1, 4, 19])
def test_int8_against_float64(name: str, size: int) -> None:
    rng = np.random.default_rng(size)
    k = some_k(name, size)
    data = random_rows(name, 20, k, rng)
    x = rng.standard_normal((6, k)).astype(np.float32)
    block = rows.ACT_BLOCK[name]
    meant = x.astype(np.float64)
    if block:
        q, d, _ = rows.quantize_act(x, block, "scalar")
        meant = (q.reshape(6, -1, block) * d[..., None].astype(np.float64)).reshape(6, k)
    w = expand(name, data).astype(np.float64)
    bound = 4 * ULP * (np.abs(meant) @ np.abs(w).T)
    assert (np.abs(rows.matmul(name, data, x, "int8", "gemv", "scalar") - meant @ w.T) <= bound).all()


@pytest.mark.parametrize("name", FORMATS)
def test_f32_against_float64(name: str) -> None:
    rng = np.random.default_rng(3)
    k = some_k(name, 8)
    data = random_rows(name, 64, k, rng)
    x = rng.standard_normal((32, k)).astype(np.float32)
    exact = x.astype(np.float64) @ expand(name, data).T.astype(np.float64)
    error = rows.matmul(name, data, x, "f32", "gemm", "scalar") - exact
    assert np.linalg.norm(error) <= 1e-5 * np.linalg.norm(exact)


def test_errors() -> None:
    data, x = np.zeros((2, 18), np.uint8), np.zeros((1, 32), np.float32)
    with pytest.raises(ValueError, match="'int8' or 'f32', not 'int4'"):
        rows.matmul("Q4_0", data, x, "int4")
    with pytest.raises(ValueError, match="'gemv' or 'gemm', not 'gemw'"):
        rows.matmul("Q4_0", data, x, "int8", "gemw")
    with pytest.raises(ValueError, match="instruction set 'mmx' is not available"):
        rows.matmul("Q4_0", data, x, isa="mmx")
    with pytest.raises(ValueError, match="take 36 bytes a row, data has 18"):
        rows.matmul("Q4_0", data, np.zeros((1, 64), np.float32))
    assert rows.matmul("Q4_0", data, np.zeros((0, 32), np.float32)).shape == (0, 2)
