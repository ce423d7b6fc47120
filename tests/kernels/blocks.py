"""Random block bytes of every format, with ordinary or with extreme scales."""

import gguf
import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]

# Byte offsets of the half-float scales inside a block.
SCALES_AT = {
    "Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q8_0": [0], "Q2_K": [80, 82], "Q3_K": [108],
    "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208], "MXFP4": [],
    "IQ4_NL": [0], "IQ4_XS": [0], "IQ3_XXS": [0], "IQ3_S": [0], "IQ2_XXS": [0], "IQ2_XS": [0], "IQ2_S": [0],
    "IQ1_S": [0], "IQ1_M": [],
}  # fmt: skip
FLOAT_DTYPES = {"F32": np.uint32, "F16": np.uint16, "BF16": np.uint16}
WILD = np.array([0x7C00, 0xFC00, 0x7E01, 0x0001, 0x83FF, 0x0000, 0x8000, 0x7BFF], np.uint16)


def block_shape(name: str) -> tuple[int, int]:
    """Return the number of elements and bytes of a block."""
    return gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[name]]


def random_rows(name: str, n: int, k: int, rng: np.random.Generator, wild: bool = False) -> Bytes:
    """Return n rows of k elements: random bits in the integers, scales of ordinary size.

    With `wild`, some scales (or values of a float format) are infinite, NaN, denormal, zero or the largest finite.
    """
    if name in FLOAT_DTYPES:
        return _random_floats(name, n, k, rng, wild)
    elements, size = block_shape(name)
    data = rng.integers(0, 256, (n, k // elements, size), dtype=np.uint8)
    if name == "MXFP4":  # its scale is a power of two; byte 128 means 1
        odd = rng.choice(np.array([0, 1, 2, 254, 255], np.uint8), data.shape[:2])
        data[..., 0] = rng.integers(118, 123, data.shape[:2])
        data[..., 0] = np.where(wild & (rng.random(odd.shape) < 0.2), odd, data[..., 0])
        return data.reshape(n, -1)
    if name == "IQ1_M":  # the upper nibbles of four words
        words = data[..., 48:].view(np.uint16)
        words &= 0xFFF
        words |= _scales(data.shape[:2], rng, wild)[..., None] >> 4 * np.arange(4, dtype=np.uint16) << 12
    for at in SCALES_AT[name]:
        data[..., at : at + 2] = _scales(data.shape[:2], rng, wild)[..., None].view(np.uint8)
    return data.reshape(n, -1)


def _scales(shape: tuple[int, ...], rng: np.random.Generator, wild: bool) -> npt.NDArray[np.uint16]:
    scale = rng.uniform(0.001, 0.02, shape) * rng.choice([-1, 1], shape)
    bits = scale.astype(np.float16).view(np.uint16)
    return np.where(rng.random(shape) < 0.2, rng.choice(WILD, shape), bits) if wild else bits


def _random_floats(name: str, n: int, k: int, rng: np.random.Generator, wild: bool) -> Bytes:
    x = rng.standard_normal((n, k)).astype(np.float32)
    if wild:
        extremes = np.array([np.inf, -np.inf, np.nan, 1e-40, -0.0, 1e-7, 6e4, 3e38], np.float32)
        x = np.where(rng.random(x.shape) < 0.02, rng.choice(extremes, x.shape), x)
    if name == "F32":
        return x.view(np.uint8)
    with np.errstate(over="ignore"):
        bits = x.astype(np.float16).view(np.uint16) if name == "F16" else (x.view(np.uint32) >> 16).astype(np.uint16)
    return bits.view(np.uint8)


def expand(name: str, data: Bytes) -> Floats:
    """Dequantize rows with the gguf package."""
    with np.errstate(all="ignore"):
        return gguf.quants.dequantize(data, gguf.GGMLQuantizationType[name])


def assert_same_bits(actual: Floats, expected: Floats) -> None:
    """Assert equality bit by bit, including signs of zeros; any NaN equals any NaN."""
    assert actual.shape == expected.shape
    same = (actual.view(np.uint32) == expected.view(np.uint32)) | (np.isnan(actual) & np.isnan(expected))
    assert same.all(), f"{(~same).sum()} of {same.size} differ, the first at {np.argwhere(~same)[0]}"
