"""The second product of a low-rank update: near float64, and the same bits on every ISA level."""

import numpy as np
import pytest

from realizar._kernels import table
from realizar._kernels.adapters import add_product, in_tiles

SHAPES = [(1, 1), (3, 7), (16, 64), (8, 100), (5, 130), (33, 257)]  # rank, rows of B


def factors(rank, n_out, dtype):
    rng = np.random.default_rng(rank * n_out)
    h, y = rng.standard_normal(rank).astype(np.float32), rng.standard_normal(n_out).astype(np.float32)
    return h, rng.standard_normal((n_out, rank)).astype(dtype), y


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize(("rank", "n_out"), SHAPES)
def test_is_the_product(rank, n_out, dtype):
    h, b, y = factors(rank, n_out, dtype)
    want = y.astype(np.float64) + b.astype(np.float64) @ h.astype(np.float64)
    np.testing.assert_allclose(add_product(h, in_tiles(b), y), want, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("isa", table.available())
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize(("rank", "n_out"), SHAPES)
def test_same_bits_as_scalar(rank, n_out, dtype, isa):
    h, b, y = factors(rank, n_out, dtype)
    want = add_product(h, in_tiles(b), y, "scalar")
    np.testing.assert_array_equal(add_product(h, in_tiles(b), y, isa).view(np.uint32), want.view(np.uint32))


def test_tiles():
    b = np.arange(130 * 3, dtype=np.float32).reshape(130, 3)
    tiles = in_tiles(b)
    assert tiles.shape == (3, 3, 64)
    assert tiles[2, 1, 1] == b[129, 1]
    assert not tiles[2, :, 2:].any()


def test_shapes_are_checked():
    h, b, _ = factors(4, 64, np.float32)
    with pytest.raises(ValueError, match="B of 65 rows"):
        add_product(h, in_tiles(b), np.zeros(65, np.float32))
