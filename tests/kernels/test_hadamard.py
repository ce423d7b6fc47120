"""The Hadamard transform: the matrix by its definition, and the same bits on every ISA level."""

import numpy as np
import pytest

from realizar._kernels import table
from realizar._kernels.testing.attention import hadamard
from realizar.graph import hadamard as definition


def matrix(n: int) -> np.ndarray:
    """Sylvester's matrix: -1 where the row and the column have an odd number of ones in common."""
    common = np.arange(n)[:, None] & np.arange(n)
    return np.array([[-1.0 if int(x).bit_count() % 2 else 1.0 for x in row] for row in common])


@pytest.mark.parametrize("n", [2, 4, 8, 16, 32, 64, 256])
def test_is_the_product_with_the_matrix(n: int) -> None:
    x = np.random.default_rng(n).standard_normal((3, 2, n)).astype(np.float32)
    want = x @ matrix(n) / np.sqrt(n)
    np.testing.assert_allclose(hadamard(x, n**-0.5), want, atol=1e-5)
    np.testing.assert_allclose(definition.hadamard(x.astype(np.float64), n), want, atol=1e-12)


@pytest.mark.parametrize("isa", table.available())
@pytest.mark.parametrize("n", [2, 4, 8, 16, 32, 128, 1024])
def test_same_bits_as_scalar(n: int, isa: str) -> None:
    x = np.random.default_rng(n).standard_normal((2, 3, n)).astype(np.float32)
    want = hadamard(x, n**-0.5, "scalar")
    np.testing.assert_array_equal(hadamard(x, n**-0.5, isa).view(np.uint32), want.view(np.uint32))


def test_is_its_own_inverse() -> None:
    x = np.random.default_rng(0).standard_normal((4, 1, 512)).astype(np.float32)
    np.testing.assert_allclose(hadamard(hadamard(x, 512**-0.5), 512**-0.5), x, atol=1e-5)
