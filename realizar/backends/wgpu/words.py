"""Formats with fewer than four bits: how their blocks become planes, and the WGSL that reads their codes and scales.

Codes of three bits and less are read four at a time; those of codebooks (IQ1 to IQ3) stay indices and signs, as in the
file.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from realizar.backends.wgpu.planes import U8, U32, Planes, Unpack, bit_pairs, bits_of, half_of, halves, pair, with_bytes
from realizar.quants.iquants import GRID, IQ1_M, IQ1_S, IQ2_S, IQ2_XS, IQ2_XXS, IQ3_S, IQ3_XXS
from realizar.quants.kquants import Q2_K, Q3_K, unpack_signed_scales
from realizar.quants.ternary import PTQ1_0_RUNS, TQ1_0_RUNS, digits

TWO_BITS = np.array([0, 2, 4, 6], np.uint8)
EIGHT = np.arange(8, dtype=np.uint8)[:, None]

# ---- codes of one and two bits, and digits of base 3

BIT = "    return (w[group] >> i) & 0x01010101u;"
"""A word for 32 elements: bit i of byte j is element 4 i + j."""
BIT_PAIR = "    return (w[2u * group + i / 4u] >> (2u * (i % 4u))) & 0x03030303u;"
"""Two words for 32 elements: bits 2 i of byte j of word h are element 16 h + 4 i + j."""
THREE_BITS = """\
    let pair = (w[2u * group + i / 4u] >> (2u * (i % 4u))) & 0x03030303u;
    return pair | (((high[group] >> i) & 0x01010101u) << 2u);"""
DIGIT = """\
    let c = 8u * (group % GROUPS) + i;
    let word = w[group / GROUPS * ((ROW_FOURS + 4u) / 5u) + c / 5u];
    let power = select(byte(0x1b090301u, c % 5u), 81u, c % 5u == 4u);
    let even = ((word & 0x00ff00ffu) * power) & 0x00ff00ffu;
    let odd = (((word >> 8u) & 0x00ff00ffu) * power) & 0x00ff00ffu;
    return (((3u * even) >> 8u) & 0x00ff00ffu) | ((3u * odd) & 0xff00ff00u);"""
"""A word for 20 elements of a row: digit i of byte j, the most significant first, is element 4 i + j."""


def _centered(n_elements: int) -> str:
    """A float16 for each block; the code of a zero is 1."""
    return half_of(n_elements) + "    return vec2<f32>(d, -d);"


SIGN = half_of(128) + "    return vec2<f32>(2.0 * d, -d);"
"""A float16 for 128 elements: d for a code of 1, -d for 0."""
AFFINE_16 = """\
    let at = 5u * (row * (GROUPS / 8u) + c / 64u);
    let d = unpack2x16float(scales[at]);
    let s = byte(scales[at + 1u + (c % 64u) / 16u], (c / 4u) % 4u);
    return vec2<f32>(d.x * f32(s & 15u), -d.y * f32(s >> 4u));"""
"""Five words for 256 elements: d and dmin as float16; scale and minimum of each 16, nibbles."""
SIX_BITS_16 = """\
    let at = 4u * (row * (GROUPS / 8u) + c / 64u);
    let n = (c / 4u) % 16u;
    let s = ((scales[at + 1u + n / 8u] >> (4u * (n % 8u))) & 15u) | (((scales[at + 3u] >> (2u * n)) & 3u) << 4u);
    let d = unpack2x16float(scales[at]).x * (f32(s) - 32.0);
    return vec2<f32>(d, -4.0 * d);"""
"""Four words for 256 elements: d as float16; the scales of each 16, nibbles in two words and bit pairs in one."""

# ---- codebooks

SIGNED = """\
    return with_signs(book[2u * index + i % 2u], signs >> (4u * (i % 2u)));"""
"""Elements 4 i to 4 i + 3 of codewords of eight, of which this one has the signs `signs`."""
IQ2_XXS_WORD = f"""\
    let index = byte(w[2u * group], i / 2u);
    let signs = even_signs(w[2u * group + 1u] >> (7u * (i / 2u)));
{SIGNED}"""
IQ2_XS_WORD = f"""\
    let entry = w[2u * group + i / 4u] >> (16u * (i / 2u % 2u));
    let index = entry & 511u;
    let signs = even_signs((entry >> 9u) & 127u);
{SIGNED}"""
IQ2_S_WORD = f"""\
    let index = byte(w[2u * group], i / 2u) | (((byte_of_group(group) >> (i / 2u * 2u)) & 3u) << 8u);
    let signs = byte(w[2u * group + 1u], i / 2u);
{SIGNED}"""
IQ3_XXS_WORD = """\
    let index = byte(w[3u * group + i / 4u], i % 4u);
    let signs = even_signs(w[3u * group + 2u] >> (7u * (i / 2u)));
    return with_signs(book[index], signs >> (4u * (i % 2u)));"""
IQ3_S_WORD = """\
    let index = byte(w[3u * group + i / 4u], i % 4u) | (((byte_of_group(group) >> i) & 1u) << 8u);
    return with_signs(book[index], w[3u * group + 2u] >> (4u * i));"""
IQ1_S_WORD = """\
    let rest = half_of_group(group);
    let index = byte(w[group], i / 2u) | (((rest >> (i / 2u * 3u)) & 7u) << 8u) | ((rest >> 15u) << 11u);
    return book[2u * index + i % 2u];"""
IQ1_M_WORD = """\
    let index = byte(w[group], i / 2u) | (((half_of_group(group) >> (i / 2u * 4u)) & 15u) << 8u);
    return book[2u * index + i % 2u];"""


def _of_32(n_words: int, factor: float) -> str:
    """The scale of 32 elements is in the upper four bits of the last of their words."""
    return (
        half_of(256)
        + f"""\
    let s = w[{n_words}u * (row * GROUPS + c / 8u + 1u) - 1u] >> 28u;
    return vec2<f32>(d * {factor} * f32(2u * s + 1u), 0.0);"""
    )


NIBBLES_16 = """\
    let at = 3u * (row * (GROUPS / 8u) + c / 64u);
    let n = (c / 4u) % 16u;
    let s = (scales[at + 1u + n / 8u] >> (4u * (n % 8u))) & 15u;
    return vec2<f32>(unpack2x16float(scales[at]).x * 0.125 * f32(2u * s + 1u), 0.0);"""
"""Three words for 256 elements: d as float16; the scale of each 16, a nibble."""
NIBBLES_32 = """\
    let at = 2u * (row * (GROUPS / 8u) + c / 64u);
    let s = (scales[at + 1u] >> (4u * (c / 8u % 8u))) & 15u;
    return vec2<f32>(unpack2x16float(scales[at]).x * f32(2u * s + 1u), 0.0);"""
"""Two words for 256 elements: d as float16; the scale of each 32, a nibble."""
IQ1_S_SCALE = (
    half_of(256)
    + """\
    let s = (half_of_group(row * GROUPS + c / 8u) >> 12u) & 7u;
    return vec2<f32>(d * 0.125 * f32(2u * s + 1u), 0.0);"""
)
IQ1_M_SCALE = """\
    let at = 2u * (row * (GROUPS / 8u) + c / 64u);
    let a = scales[at];
    let b = scales[at + 1u];
    let bits = ((a >> 12u) & 15u) | ((a >> 28u) << 4u) | (((b >> 12u) & 15u) << 8u) | ((b >> 28u) << 12u);
    let n = (c / 4u) % 16u;
    let s = (scales[at + n / 8u] >> (16u * (n / 4u % 2u) + 3u * (n % 4u))) & 7u;
    return vec2<f32>(unpack2x16float(bits).x * 0.125 * f32(2u * s + 1u), 0.0);"""
"""Two words for 256 elements, as in the file: four times four scales of each 16 and four bits of d."""


def _words(book: npt.NDArray[Any]) -> U32:
    """Values of codewords, [n, 8 or 4], as bytes of words."""
    return np.ascontiguousarray(book.astype(np.int8)).view(np.uint32).reshape(-1)


BOOKS = {name: _words(book) for name, book in GRID.items() if name != "IQ1_S"}
BOOKS["IQ1_S"] = _words(np.concatenate([8 * GRID["IQ1_S"] + 1, 8 * GRID["IQ1_S"] - 1]))

# ---- one function for each format


def _q2_k(blocks: U8) -> Planes:
    b = blocks.view(Q2_K)[:, 0]
    return {"w": bit_pairs(_interleaved(b["qs"])), "scales": with_bytes(pair(b["d"], b["dmin"]), b["scales"])}


def _q3_k(blocks: U8) -> Planes:
    b = blocks.view(Q3_K)[:, 0]
    scales = (unpack_signed_scales(b["scales"]) + np.int8(32)).view(np.uint8)
    low = scales[:, 0::2] & 15 | scales[:, 1::2] << 4
    four = scales.reshape(-1, 4, 4) >> 4
    high = np.bitwise_or.reduce(four << TWO_BITS, axis=2)
    high_bits = bits_of(b["hmask"][:, None, :] >> EIGHT & 1)
    packed = with_bytes(pair(b["d"]), np.concatenate([low, high], axis=1))
    return {"w": bit_pairs(_interleaved(b["qs"])), "high": high_bits, "scales": packed}


def _interleaved(qs: U8) -> npt.NDArray[Any]:
    """Bits 2 j of byte i of 32 belong to element 32 j + i of their 128."""
    return (qs.reshape(len(qs), -1, 1, 32) >> TWO_BITS[:, None] & 3).reshape(len(qs), -1)


def _in_order(blocks: U8) -> Planes:
    """d, then the bit pairs of the elements in their order."""
    codes = (blocks[:, 2:, None] >> TWO_BITS & 3).reshape(len(blocks), -1)
    return {"w": bit_pairs(codes), "scales": blocks[:, :2]}


def _q1_0(blocks: U8) -> Planes:
    bits = np.unpackbits(blocks[:, 2:], axis=1, bitorder="little").reshape(len(blocks), -1, 32)
    return {"w": bits_of(bits), "scales": blocks[:, :2]}


def _tq2_0(blocks: U8) -> Planes:
    return {"w": bit_pairs(_interleaved(blocks[:, :64])), "scales": blocks[:, 64:]}


def _digits_of(runs: tuple[tuple[int, int], ...]) -> Callable[[U8], Planes]:
    return lambda blocks: {"w": digits(blocks, runs), "scales": blocks[:, -2:]}


def digits_in_words(codes: U8) -> U8:
    """Codes of base 3 of rows, uint8 [n, k] -> their words as bytes, 20 codes in each: [n, 4 * ceil(k / 20)]."""
    padded = np.pad(codes, ((0, 0), (0, -codes.shape[1] % 20))).reshape(len(codes), -1, 5, 4).astype(np.uint16)
    number = (padded * np.array([81, 27, 9, 3, 1], np.uint16)[:, None]).sum(axis=2, dtype=np.uint16)
    out: U8 = ((number * 256 + 242) // 243).astype(np.uint8).reshape(len(codes), -1)
    return out


def _iq2_xxs(blocks: U8) -> Planes:
    b = blocks.view(IQ2_XXS)[:, 0]
    return {"w": b["qs"], "scales": halves(b["d"])}


def _iq2_xs(blocks: U8) -> Planes:
    b = blocks.view(IQ2_XS)[:, 0]
    return {"w": b["qs"], "scales": with_bytes(pair(b["d"]), b["scales"])}


def _iq2_s(blocks: U8) -> Planes:
    b = blocks.view(IQ2_S)[:, 0]
    w = np.concatenate([b["qs"].reshape(-1, 8, 4), b["signs"].reshape(-1, 8, 4)], axis=2)
    return {"w": w, "high": b["qh"], "scales": with_bytes(pair(b["d"]), b["scales"])}


def _iq3_xxs(blocks: U8) -> Planes:
    b = blocks.view(IQ3_XXS)[:, 0]
    signs = np.ascontiguousarray(b["signs"]).view(np.uint8).reshape(-1, 8, 4)
    return {"w": np.concatenate([b["qs"].reshape(-1, 8, 8), signs], axis=2), "scales": halves(b["d"])}


def _iq3_s(blocks: U8) -> Planes:
    b = blocks.view(IQ3_S)[:, 0]
    w = np.concatenate([b["qs"].reshape(-1, 8, 8), b["signs"].reshape(-1, 8, 4)], axis=2)
    return {"w": w, "high": b["qh"], "scales": with_bytes(pair(b["d"]), b["scales"])}


def _iq1_s(blocks: U8) -> Planes:
    b = blocks.view(IQ1_S)[:, 0]
    return {"w": b["qs"], "high": b["qh"], "scales": halves(b["d"])}


def _iq1_m(blocks: U8) -> Planes:
    b = blocks.view(IQ1_M)[:, 0]
    return {"w": b["qs"], "high": b["qh"], "scales": b["scales"]}


UNPACK: dict[str, Unpack] = {
    "Q2_K": Unpack(16, AFFINE_16, _q2_k, word_of=BIT_PAIR),
    "Q3_K": Unpack(16, SIX_BITS_16, _q3_k, word_of=THREE_BITS, has_high=True),
    "Q1_0": Unpack(32, SIGN, _q1_0, word_of=BIT),
    "Q2_0": Unpack(32, _centered(64), _in_order, word_of=BIT_PAIR),
    "PQ2_0": Unpack(32, _centered(128), _in_order, word_of=BIT_PAIR),
    "TQ2_0": Unpack(32, _centered(256), _tq2_0, word_of=BIT_PAIR),
    "PTQ1_0": Unpack(32, _centered(128), _digits_of(PTQ1_0_RUNS), word_of=DIGIT, base=3),
    "TQ1_0": Unpack(32, _centered(256), _digits_of(TQ1_0_RUNS), word_of=DIGIT, base=3),
    "IQ2_XXS": Unpack(32, _of_32(2, 0.125), _iq2_xxs, word_of=IQ2_XXS_WORD, book=BOOKS["IQ2_XXS"]),
    "IQ2_XS": Unpack(16, NIBBLES_16, _iq2_xs, word_of=IQ2_XS_WORD, book=BOOKS["IQ2_XS"]),
    "IQ2_S": Unpack(16, NIBBLES_16, _iq2_s, word_of=IQ2_S_WORD, has_high=True, book=BOOKS["IQ2_S"]),
    "IQ3_XXS": Unpack(32, _of_32(3, 0.25), _iq3_xxs, word_of=IQ3_XXS_WORD, book=BOOKS["IQ3_XXS"]),
    "IQ3_S": Unpack(32, NIBBLES_32, _iq3_s, word_of=IQ3_S_WORD, has_high=True, book=BOOKS["IQ3_S"]),
    "IQ1_S": Unpack(32, IQ1_S_SCALE, _iq1_s, word_of=IQ1_S_WORD, has_high=True, book=BOOKS["IQ1_S"]),
    "IQ1_M": Unpack(16, IQ1_M_SCALE, _iq1_m, word_of=IQ1_M_WORD, has_high=True, book=BOOKS["IQ1_S"]),
}
"""Formats whose codes are read four at a time, by name."""
