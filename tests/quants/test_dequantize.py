"""dequantize matches the gguf package bit for bit, for any bytes."""

import gguf
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from realizar.errors import ParameterError
from realizar.gguf import GGMLType
from realizar.quants import FORMATS, dequantize
from tests.isa import N_EXAMPLES
from tests.kernels.blocks import OWN

# float16 bits that are special as scales: zeros, denormals, the largest, infinities and NaNs.
SCALES = [0x0000, 0x8000, 0x0001, 0x8001, 0x03FF, 0x7BFF, 0xFBFF, 0x7C00, 0xFC00, 0x7C01, 0x7E00, 0xFE12]

# Offsets of float16 values in a quantization block, if not only at its start.
SCALES_AT = {
    "Q4_1": [0, 2], "Q5_1": [0, 2], "Q2_K": [80, 82], "Q3_K": [108], "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208],
    "IQ1_M": [48, 50, 52, 54],
    "PTQ1_0": [26], "TQ1_0": [52], "TQ2_0": [64],
}  # fmt: skip

# Byte and base-3 digit of each element of PTQ1_0: the first digits of a run of bytes, then the second ones, and so on.
PTQ1_0_RUNS = ((range(16), 5), (range(16, 24), 5), (range(24, 26), 4))
PTQ1_0_ORDER = [(byte, digit) for run, n in PTQ1_0_RUNS for digit in range(n) for byte in run]


def element(name, block, i):
    """Element i of a block of a format that the gguf package does not have, bit by bit, without its scale."""
    if name == "Q1_0":
        return 2 * (block[2 + i // 8] >> i % 8 & 1) - 1
    if name in ("Q2_0", "PQ2_0"):
        return (block[2 + i // 4] >> 2 * (i % 4) & 3) - 1
    byte, digit = PTQ1_0_ORDER[i]
    return (block[byte] * 3**digit % 256 * 3 >> 8) - 1


def by_element(rows, name):
    fmt, out = FORMATS[name], []
    for block in rows.reshape(-1, fmt.n_bytes):
        at = SCALES_AT.get(name, [0])[0]
        d = block[at : at + 2].view("<f2").astype(np.float32)
        q = np.array([element(name, block.tolist(), i) for i in range(fmt.n_elements)], np.float32)
        out.append(np.where(q > 0, d, -d) if name == "Q1_0" else d * q)
    return np.concatenate(out).reshape(*rows.shape[:-1], -1)


def reference(data, name):
    if name in OWN:
        with np.errstate(all="ignore"):
            return by_element(data, name)
    with np.errstate(all="ignore"):
        return gguf.quants.dequantize(data, gguf.GGMLQuantizationType[name])


def same_bits(a, b):
    return np.array_equal(a.view(np.uint32), b.view(np.uint32))


def test_formats_match_ggml_types():
    for fmt in FORMATS.values():
        ggml_type = GGMLType[fmt.name]
        assert (fmt.type_id, fmt.n_elements, fmt.n_bytes) == (
            ggml_type,
            ggml_type.n_elements,
            ggml_type.n_bytes,
        )


@pytest.mark.parametrize("name", FORMATS)
@settings(deadline=None, max_examples=N_EXAMPLES)
@given(data=st.data())
def test_random_bytes(name, data):
    n_bytes = FORMATS[name].n_bytes
    shape = (data.draw(st.integers(1, 4)), data.draw(st.integers(1, 5)) * n_bytes)
    rows = data.draw(hnp.arrays(np.uint8, shape))
    assert same_bits(dequantize(rows, name), reference(rows, name))


@pytest.mark.parametrize("name", FORMATS)
def test_special_scales(name):
    fmt = FORMATS[name]
    rng = np.random.default_rng(0)
    for at in SCALES_AT.get(name, [0]):
        rows = rng.integers(0, 256, (len(SCALES), fmt.n_bytes), np.uint8)
        rows[:, at : at + 2] = np.array(SCALES, "<u2")[:, None].view(np.uint8)
        assert same_bits(dequantize(rows, name), reference(rows, name))


@pytest.mark.parametrize("name", FORMATS)
def test_multidimensional_rows(name):
    fmt = FORMATS[name]
    k = 512 if fmt.n_elements > 1 else 300
    n = 7 if name in OWN else 101
    rows = np.random.default_rng(1).integers(0, 256, (3, n, k // fmt.n_elements * fmt.n_bytes), np.uint8)
    x = dequantize(rows, name)
    assert x.shape == (3, n, k)
    assert same_bits(x, reference(rows, name))


def test_empty_input():
    assert dequantize(np.empty((0, 18), np.uint8), "Q4_0").shape == (0, 32)


def test_non_contiguous_rows():
    rows = np.random.default_rng(2).integers(0, 256, (8, 36), np.uint8)
    assert same_bits(dequantize(rows[::2], "Q4_0"), dequantize(rows, "Q4_0")[::2])


@pytest.mark.parametrize(
    ("rows", "name", "says"),
    [
        (np.zeros((2, 17), np.uint8), "Q4_0", "multiple of 18 bytes"),
        (np.zeros((2, 18), np.int8), "Q4_0", "int8"),
        (np.zeros((), np.uint8), "Q4_0", "multiple of 18 bytes"),
        (np.zeros((2, 18), np.uint8), "Q9_Z", "Q9_Z"),
    ],
)
def test_bad_arguments(rows, name, says):
    with pytest.raises(ParameterError, match=says):
        dequantize(rows, name)
