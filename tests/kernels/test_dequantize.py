"""Dequantization equals the gguf package's bit by bit, on every ISA level."""

import numpy as np
import pytest

from realizar._kernels import rows, table
from tests.kernels.blocks import assert_same_bits, block_shape, expand, random_rows


@pytest.mark.parametrize("isa", table.available())
@pytest.mark.parametrize("name", rows.ACT_BLOCK)
@pytest.mark.parametrize("wild", [False, True])
def test_equals_gguf(name: str, isa: str, wild: bool) -> None:
    rng = np.random.default_rng(1)
    k = 3 * block_shape(name)[0] if block_shape(name)[0] > 1 else 77
    data = random_rows(name, 50, k, rng, wild)
    assert_same_bits(rows.dequantize(name, data, k, isa), expand(name, data))


@pytest.mark.parametrize("isa", table.available())
def test_every_half(isa: str) -> None:
    data = np.arange(1 << 16, dtype=np.uint16).view(np.uint8).reshape(1, -1)
    for name in ("F16", "BF16"):
        assert_same_bits(rows.dequantize(name, data, 1 << 16, isa), expand(name, data))


def test_errors() -> None:
    data = np.zeros((2, 18), np.uint8)
    with pytest.raises(ValueError, match="no kernels for format 'Q3_X'; there are: F32"):
        rows.dequantize("Q3_X", data, 32)
    with pytest.raises(ValueError, match="multiple of 32 elements, not k=33"):
        rows.dequantize("Q4_0", data, 33)
    with pytest.raises(ValueError, match="take 36 bytes a row, data has 18"):
        rows.dequantize("Q4_0", data, 64)
    with pytest.raises(ValueError, match="must be uint8"):
        rows.dequantize("Q4_0", data.astype(np.int8), 32)
