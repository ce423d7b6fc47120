"""IQ1_S to IQ4_XS (i-quants): quantization blocks of 256 elements (IQ4_NL: 32) that are codewords of a codebook.

IQ2_XXS, IQ2_XS, IQ2_S: x = d / 8 * (2 s + 1) * ±v, eight elements v in {8, 25, 43} at a time from a codebook.
IQ3_XXS, IQ3_S: x = d / 4 * (2 s + 1) * ±v and x = d * (2 s + 1) * ±v, four elements of eight values at a time.
IQ1_S, IQ1_M: x = d / 8 * (2 s + 1) * (8 v ± 1), eight elements v in {-1, 0, 1} at a time.
IQ4_NL, IQ4_XS: x = d * v and x = d * s * v, each element one of sixteen values.
s has four bits (IQ1: three; IQ4_XS: six, signed) and is that of a group of 16 or 32 elements. The factors are powers of
two, so that all this is as exact as ggml's d * (0.5 + s) / 4 and so on (`block_iq2_xxs` etc. in ggml-common.h).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from realizar.quants.codebooks import CODES, LEVELS

U8 = NDArray[np.uint8]
U32 = NDArray[np.uint32]
F16 = NDArray[np.float16]
F32 = NDArray[np.float32]
Ints = NDArray[np.integer[Any]]

IQ2_XXS = np.dtype([("d", "<f2"), ("qs", "<u4", (8, 2))])
IQ2_XS = np.dtype([("d", "<f2"), ("qs", "<u2", 32), ("scales", "u1", 8)])
IQ2_S = np.dtype([("d", "<f2"), ("qs", "u1", 32), ("signs", "u1", 32), ("qh", "u1", 8), ("scales", "u1", 8)])
IQ3_XXS = np.dtype([("d", "<f2"), ("qs", "u1", 64), ("signs", "<u4", 8)])
IQ3_S = np.dtype([("d", "<f2"), ("qs", "u1", 64), ("qh", "u1", 8), ("signs", "u1", 32), ("scales", "u1", 4)])
IQ1_S = np.dtype([("d", "<f2"), ("qs", "u1", 32), ("qh", "<u2", 8)])
IQ1_M = np.dtype([("qs", "u1", 32), ("qh", "u1", 16), ("scales", "<u2", 4)])
IQ4_NL = np.dtype([("d", "<f2"), ("qs", "u1", 16)])
IQ4_XS = np.dtype([("d", "<f2"), ("scales_h", "<u2"), ("scales_l", "u1", 4), ("qs", "u1", 128)])

EIGHTH, QUARTER, ONE = np.float32(0.125), np.float32(0.25), np.float32(1)
# kvalues_iq4nl in ggml-common.h
IQ4_VALUES = np.array([-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113], np.float32)
BITS = np.arange(8, dtype=np.uint8)
NIBBLES = np.array([0, 4], np.uint8)
SEVENS = np.array([0, 7, 14, 21], np.uint32)
THREES = np.array([0, 3, 6, 9], np.uint16)


def _codebook(name: str) -> F32:
    """float32[n_codewords, 8 or 4]."""
    text, (bits, n) = "".join(CODES[name]), (3, 4) if name.startswith("IQ3") else (2, 8)
    digits = bits * n // 4
    codes = np.array([int(text[i : i + digits], 16) for i in range(0, len(text), digits)])
    book: F32 = np.array(LEVELS[name], np.float32)[codes[:, None] >> bits * np.arange(n) & ((1 << bits) - 1)]
    return book


GRID = {name: _codebook(name) for name in CODES}


def dequantize_iq4_nl(blocks: U8) -> F32:
    """uint8[n, 18] -> float32[n, 32]; low nibbles are elements 0..15, high ones 16..31."""
    b = blocks.view(IQ4_NL)[:, 0]
    return b["d"].astype(np.float32)[:, None] * IQ4_VALUES[_nibbles(b["qs"], 16)]


def dequantize_iq4_xs(blocks: U8) -> F32:
    """uint8[n, 136] -> float32[n, 256]; the six bits of a scale: a nibble of scales_l and two bits of scales_h."""
    b = blocks.view(IQ4_XS)[:, 0]
    low = (b["scales_l"][:, :, None] >> NIBBLES & 15).reshape(-1, 8)
    high = b["scales_h"][:, None] >> (2 * BITS).astype(np.uint16) & 3
    scales = (low | high << 4).astype(np.int8) - np.int8(32)
    return _scaled(b["d"], ONE, scales, IQ4_VALUES[_nibbles(b["qs"], 16)])


def dequantize_iq3_xxs(blocks: U8) -> F32:
    """uint8[n, 98] -> float32[n, 256]; a dword has the signs of 32 elements and, in its upper four bits, the scale."""
    b = blocks.view(IQ3_XXS)[:, 0]
    signs = even_signs(b["signs"][:, :, None] >> SEVENS)
    return _scaled(b["d"], QUARTER, 2 * (b["signs"] >> 28) + 1, _signed(GRID["IQ3_XXS"][b["qs"]], signs))


def dequantize_iq3_s(blocks: U8) -> F32:
    """uint8[n, 110] -> float32[n, 256]; bit i of a byte of qh is the ninth bit of index i of eight."""
    b = blocks.view(IQ3_S)[:, 0]
    high = (b["qh"][:, :, None] >> BITS & 1).reshape(-1, 64)
    words = GRID["IQ3_S"][b["qs"] | high.astype(np.uint16) << 8]
    return _scaled(b["d"], ONE, 2 * _scale_nibbles(b["scales"]) + 1, _signed(words, b["signs"]))


def dequantize_iq2_xxs(blocks: U8) -> F32:
    """uint8[n, 66] -> float32[n, 256]; for 32 elements a dword of four indices and one as in IQ3_XXS."""
    b = blocks.view(IQ2_XXS)[:, 0]
    rest = b["qs"][:, :, 1]
    index = np.ascontiguousarray(b["qs"][:, :, 0]).view(np.uint8)
    words = GRID["IQ2_XXS"][index]
    return _scaled(b["d"], EIGHTH, 2 * (rest >> 28) + 1, _signed(words, even_signs(rest[:, :, None] >> SEVENS)))


def dequantize_iq2_xs(blocks: U8) -> F32:
    """uint8[n, 74] -> float32[n, 256]; nine bits of index and seven of signs for eight elements."""
    b = blocks.view(IQ2_XS)[:, 0]
    words = GRID["IQ2_XS"][b["qs"] & 511]
    return _scaled(b["d"], EIGHTH, 2 * _scale_nibbles(b["scales"]) + 1, _signed(words, even_signs(b["qs"] >> 9)))


def dequantize_iq2_s(blocks: U8) -> F32:
    """uint8[n, 82] -> float32[n, 256]; bit pair i of a byte of qh is the upper bits of index i of four."""
    b = blocks.view(IQ2_S)[:, 0]
    high = (b["qh"][:, :, None] >> 2 * BITS[:4] & 3).reshape(-1, 32)
    words = GRID["IQ2_S"][b["qs"] | high.astype(np.uint16) << 8]
    return _scaled(b["d"], EIGHTH, 2 * _scale_nibbles(b["scales"]) + 1, _signed(words, b["signs"]))


def dequantize_iq1_s(blocks: U8) -> F32:
    """uint8[n, 50] -> float32[n, 256]; a word of qh: upper bits of four indices, the scale, the sign of the delta."""
    b = blocks.view(IQ1_S)[:, 0]
    high = (b["qh"][:, :, None] >> THREES & 7).reshape(-1, 32)
    delta = np.repeat(b["qh"] >> 15, 4, axis=1)
    return _scaled(b["d"], EIGHTH, 2 * (b["qh"] >> 12 & 7) + 1, _ternary(b["qs"] | high << 8, delta))


def dequantize_iq1_m(blocks: U8) -> F32:
    """uint8[n, 56] -> float32[n, 256]; a nibble of qh: upper bits of an index and the sign of its delta."""
    b = blocks.view(IQ1_M)[:, 0]
    high = (b["qh"][:, :, None] >> NIBBLES & 15).reshape(-1, 32).astype(np.uint16)
    scales = (b["scales"][:, :, None] >> THREES & 7).reshape(-1, 16)
    return _scaled(iq1_m_d(b["scales"]), EIGHTH, 2 * scales + 1, _ternary(b["qs"] | (high & 7) << 8, high >> 3))


def iq1_m_d(scales: NDArray[np.uint16]) -> F16:
    """uint16[n, 4] -> float16[n]: nibble i of d is the upper nibble of word i."""
    words = (scales >> 12 << 4 * np.arange(4, dtype=np.uint16)).astype(np.uint16)
    d: F16 = np.bitwise_or.reduce(words, axis=1).astype("<u2").view("<f2")
    return d


def even_signs(index: Ints) -> Ints:
    """Return the sign bits of eight elements from the lower seven: the eighth makes their number even."""
    signs = (index & 127).astype(np.uint8)
    parity = signs ^ signs >> 4
    parity ^= parity >> 2
    parity ^= parity >> 1
    return signs | parity << 7


def _nibbles(qs: U8, width: int) -> Ints:
    """Low nibbles of `width` bytes, then their high ones."""
    return (qs.reshape(len(qs), -1, 1, width) >> NIBBLES[:, None] & 15).reshape(len(qs), -1)


def _scale_nibbles(scales: U8) -> Ints:
    return (scales[:, :, None] >> NIBBLES & 15).reshape(len(scales), -1)


def _signed(words: F32, signs: Ints) -> F32:
    """Negate elements: bit i of a byte of signs belongs to element i of eight."""
    negative = signs.reshape(len(signs), -1, 1) >> BITS & 1
    words = words.reshape(negative.shape)
    return np.where(negative == 1, -words, words)


def _ternary(index: Ints, delta: Ints) -> F32:
    """8 v - 1 where delta is set, else 8 v + 1."""
    return 8 * GRID["IQ1_S"][index] + np.where(delta == 1, np.float32(-1), np.float32(1))[:, :, None]


def _scaled(d: F16, factor: np.float32, scales: Ints, q: F32) -> F32:
    scale = d.astype(np.float32)[:, None] * factor * scales.astype(np.float32)
    return (scale[:, :, None] * q.reshape(*scales.shape, -1)).reshape(-1, 256)
