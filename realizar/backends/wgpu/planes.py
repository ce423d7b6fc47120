"""Planes: codes and scales of blocks as arrays of words, and what the formats share to make them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

U8 = npt.NDArray[np.uint8]
U32 = npt.NDArray[np.uint32]
Blocks = npt.NDArray[np.void]

Planes = dict[str, npt.NDArray[Any]]
"""Codes and scales of blocks, arrays [n_blocks, ...] by the name of the binding: w, high and scales."""


class Unpack(NamedTuple):
    """A row of the table of formats.

    Attributes
    ----------
    group : {16, 32}
        Elements that share a scale.
    scale_of : str
        WGSL that returns scale and minimum of elements 4 c to 4 c + 3 of a row, from `scales`.
    planes : callable
        uint8 [n, n_bytes] -> Planes; codes of eight bits are two's complement.
    bits : {4, 5, 6, 8}
        Bits of codes that are kept in planes of vectors; 0: `word_of` says how codes are read.
    levels : tuple of int
        The values of sixteen codes; empty: codes are the values.
    word_of : str
        WGSL that returns codes 4 i to 4 i + 3 of a group of 32 elements, a byte each.
    has_high : bool
        Whether there is a plane `high`.
    book : uint32 [n] | None
        The values of codewords.
    base : int
        3 if the plane `w` has codes [n, n_elements], which are packed as digits of a whole row; 0 otherwise.
    """

    group: int
    scale_of: str
    planes: Callable[[U8], Planes]
    bits: int = 0
    levels: tuple[int, ...] = ()
    word_of: str = ""
    has_high: bool = False
    book: U32 | None = None
    base: int = 0


def half_of(n_elements: int) -> str:
    """Return WGSL for `d`, a float16 for each block of this many elements (`halves`)."""
    fours = n_elements // 4
    return f"""\
    let block = c / {fours}u;
    let d = unpack2x16float(scales[row * ((ROW_FOURS / {fours}u + 1u) / 2u) + block / 2u])[block % 2u];
"""


def halves(d: npt.NDArray[np.float16]) -> U8:
    """The bytes of one float16 for each block; a row is padded to whole words."""
    return np.ascontiguousarray(d).view(np.uint8).reshape(len(d), 2)


def pair(d: Any, m: Any = None) -> U32:
    """Two float16 of each block, as one word."""
    pairs = np.zeros((len(d), 2), np.float16)
    pairs[:, 0] = d
    if m is not None:
        pairs[:, 1] = m
    return pairs.view(np.uint32)


def with_bytes(word: U32, packed: npt.NDArray[Any]) -> U32:
    """A word, then bytes as words: uint32 [n, 1 + n_bytes / 4]."""
    return np.concatenate([word, np.ascontiguousarray(packed).view(np.uint8).view(np.uint32)], axis=1)


def nibbles(low: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Codes of four bits, uint8 [n, 32 m] -> their bytes, two codes each: [n, m, 16]."""
    pairs = low.reshape(len(low), -1, 2, 16)
    return np.asarray(pairs[:, :, 0] | pairs[:, :, 1] << 4)


def bits_of(bits: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Bits, uint8 [n, m, 32] -> [n, m, 4]: bit i of byte j is that of element 4 i + j."""
    of_words = bits.reshape(*bits.shape[:2], 8, 4)
    out = np.zeros((*bits.shape[:2], 4), np.uint8)
    for i in range(8):
        out |= of_words[:, :, i] << np.uint8(i)
    return out


def bit_pairs(codes: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Codes of two bits, uint8 [n, 32 m] -> [n, m, 2, 4]: bits 2 i of byte j of word h are element 16 h + 4 i + j."""
    of_words = codes.reshape(len(codes), -1, 2, 4, 4)
    out = np.zeros((*of_words.shape[:3], 4), np.uint8)
    for i in range(4):
        out |= of_words[:, :, :, i] << np.uint8(2 * i)
    return out
