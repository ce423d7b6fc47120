"""Weights of several formats in one product: each is multiplied with the input in the form that its format requires."""

import numpy as np
import pytest

from realizar._kernels import rows, table
from realizar._kernels.plan import Pool, Program, act_bytes
from tests.kernels.blocks import assert_same_bits, expand, random_rows

K, N_ROW, N_BATCH = 512, 40, 12
FORMATS = [name for name, block in rows.ACT_BLOCK.items() if block]


def products(
    isa: str, weights: list[np.ndarray], table_f32: np.ndarray, n: int, activations: str = "int8"
) -> np.ndarray:
    """Float32 [formats, n, N_ROW]: one op with all weights, for the tokens 0 to n - 1."""
    wide = act_bytes(K, 32, activations), act_bytes(K, 256, activations)
    x, act32, act256 = 0, N_BATCH * K * 4, N_BATCH * (K * 4 + wide[0])
    first = act256 + N_BATCH * wide[1]
    places = [first + i * N_BATCH * N_ROW * 4 for i in range(len(weights))]
    buffer = np.zeros(places[-1] + N_BATCH * N_ROW * 4 + 64, np.uint8)
    arena = buffer[-buffer.ctypes.data % 64 :]
    records = {"act32": (act32, wide[0]), "act256": (act256, wide[1])}
    program = Program(Pool(2), arena, N_BATCH, isa, activations)
    program.add_embed("F32", table_f32.view(np.uint8), K, (x, K))
    program.add_rowwise("quantize", K, x=(x, K), **records)
    parts = zip(FORMATS, weights, places, strict=True)
    program.add_linear(K, [(name, w, None, (place, N_ROW)) for name, w, place in parts], **records)
    ids, none = np.arange(n, dtype=np.int32), np.zeros(1, np.int32)
    program.run(ids, ids[None], np.array([0, n], np.int32), none, none, ids, ())
    return np.array([arena[p : p + n * N_ROW * 4].view(np.float32).reshape(n, N_ROW) for p in places])


@pytest.mark.parametrize("n", [1, 2, 12])
def test_formats_in_one_product(n: int) -> None:
    rng = np.random.default_rng(n)
    table_f32 = rng.standard_normal((N_BATCH, K)).astype(np.float32)
    weights = [random_rows(name, N_ROW, K, rng) for name in FORMATS]
    expected = [rows.matmul(name, w, table_f32[:n], "int8", "gemv", "scalar")
                for name, w in zip(FORMATS, weights, strict=True)]  # fmt: skip
    for isa in table.available():
        assert_same_bits(products(isa, weights, table_f32, n), np.array(expected))


@pytest.mark.parametrize("n", [1, 2, 12])
def test_int16_is_int8_twice(n: int) -> None:
    """The sum of the product with the quantized row and that with its rounding error."""
    rng = np.random.default_rng(n)
    table_f32 = rng.standard_normal((N_BATCH, K)).astype(np.float32)
    weights = [random_rows(name, N_ROW, K, rng) for name in FORMATS]
    expected = []
    for name, w in zip(FORMATS, weights, strict=True):
        residual = rows.residual_act(table_f32[:n], rows.ACT_BLOCK[name], "scalar")
        both = [rows.matmul(name, w, x, "int8", "gemv", "scalar") for x in (table_f32[:n], residual)]
        expected.append(both[0] + both[1])
    for isa in table.available():
        assert_same_bits(products(isa, weights, table_f32, n, "int16"), np.array(expected))


@pytest.mark.parametrize("name", FORMATS)
def test_int16_is_nearly_exact(name: str) -> None:
    rng = np.random.default_rng(5)
    x = rng.standard_normal((N_BATCH, K)).astype(np.float32)
    w = random_rows(name, N_ROW, K, rng)
    exact = x.astype(np.float64) @ expand(name, w).T.astype(np.float64)
    block = rows.ACT_BLOCK[name]
    coarse = rows.matmul(name, w, x, "int8", "gemv")
    fine = coarse + rows.matmul(name, w, rows.residual_act(x, block), "int8", "gemv")
    errors = [np.linalg.norm(y - exact) / np.linalg.norm(exact) for y in (coarse, fine)]
    assert errors[1] < min(5e-5, errors[0] / 150)
