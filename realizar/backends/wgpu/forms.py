"""Forms: how each format of weights lies in device memory, without loss, and the WGSL that reads it.

The file on disk stays as it is. Formats with a scale for 16 or 32 elements become planes of codes (form_blocks.wgsl); a
format costs one function that unpacks its codes and scales. A format without a row in `UNPACK` is kept as float32.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from realizar.backends.wgpu.kernels import Constant
from realizar.quants import FORMATS, dequantize
from realizar.quants.blocks32 import Q4_0, Q4_1, Q5_0, Q5_1, Q8_0
from realizar.quants.kquants import Q2_K, Q3_K, Q4_K, Q5_K, Q6_K, unpack_scales, unpack_signed_scales

U8 = npt.NDArray[np.uint8]
U32 = npt.NDArray[np.uint32]
Blocks = npt.NDArray[np.void]


@dataclass(frozen=True)
class Form:
    """A layout of weights in device memory.

    Attributes
    ----------
    part : str
        The file in shaders/ with the function `four`, which reads four consecutive elements.
    constants : dict
        Of that file.
    """

    part: str
    constants: Mapping[str, Constant]


Planes = dict[str, npt.NDArray[Any]]
"""Codes and scales of blocks, arrays [n_blocks, ...] by the name of the binding: w, high (5 and 6 bits) and scales."""


class Unpack(NamedTuple):
    """A row of the table of formats.

    Attributes
    ----------
    bits : {4, 5, 6, 8}
        Bits in which its codes are kept.
    group : {16, 32}
        Elements that share a scale.
    scale_of : str
        WGSL that returns scale and minimum of elements 4 c to 4 c + 3 of a row, from `scales`.
    planes : callable
        uint8 [n, n_bytes] -> Planes; codes of eight bits are two's complement.
    """

    bits: int
    group: int
    scale_of: str
    planes: Callable[[U8], Planes]


# ---- scales, and the WGSL that reads them

PAIR = """\
    let s = unpack2x16float(scales[row * GROUPS + c / 8u]);
    return vec2<f32>(s.x, s.y - ZERO * s.x);"""
"""A word for 32 elements: two float16, scale and minimum; ZERO is the code of a zero."""
AFFINE_32 = """\
    let at = 5u * (row * (GROUPS / 8u) + c / 64u);
    let d = unpack2x16float(scales[at]);
    let word = scales[at + 1u + (c % 64u) / 16u];
    let i = 2u * ((c / 8u) % 2u);
    return vec2<f32>(d.x * f32(byte(word, i)), -d.y * f32(byte(word, i + 1u)));"""
"""Five words for 256 elements: d and dmin as float16; scale and minimum of each 32, bytes."""
SYMMETRIC_16 = """\
    let at = 5u * (row * (GROUPS / 8u) + c / 64u);
    let d = unpack2x16float(scales[at]).x * signed_byte(scales[at + 1u + (c % 64u) / 16u], (c / 4u) % 4u);
    return vec2<f32>(d, -ZERO * d);"""
"""Five words for 256 elements: d as float16; the scale of each 16, a signed byte."""
AFFINE_16 = """\
    let at = 5u * (row * (GROUPS / 8u) + c / 64u);
    let d = unpack2x16float(scales[at]);
    let s = byte(scales[at + 1u + (c % 64u) / 16u], (c / 4u) % 4u);
    return vec2<f32>(d.x * f32(s & 15u), -d.y * f32(s >> 4u));"""
"""Five words for 256 elements: d and dmin as float16; scale and minimum of each 16, nibbles."""


def _with_zero(text: str, zero: int) -> str:
    return text.replace("ZERO", f"{zero}.0")


def _pair(d: Any, m: Any = None) -> U32:
    """Two float16 of each block, as one word."""
    pairs = np.zeros((len(d), 2), np.float16)
    pairs[:, 0] = d
    if m is not None:
        pairs[:, 1] = m
    return pairs.view(np.uint32)


def _with_bytes(pair: U32, packed: npt.NDArray[Any]) -> U32:
    """A word, then sixteen bytes as four words: uint32 [n, 5]."""
    return np.concatenate([pair, np.ascontiguousarray(packed).view(np.uint8).view(np.uint32)], axis=1)


# ---- planes of codes


def _nibbles(low: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Codes of four bits, uint8 [n, 32 m] -> their bytes, two codes each: [n, m, 16]."""
    pairs = low.reshape(len(low), -1, 2, 16)
    return np.asarray(pairs[:, :, 0] | pairs[:, :, 1] << 4)


LOW = np.uint64(0x0F0F0F0F0F0F0F0F)
FOUR = np.uint64(4)


def _split_nibbles(qs: U8) -> npt.NDArray[Any]:
    """Bytes [n, m, 32] with a group of 32 in their low nibbles, and one in their high ones -> [n, m, 2, 16].

    Eight bytes at a time, a column of all blocks after another: numpy is slow in short inner loops.
    """
    words = np.ascontiguousarray(qs).view(np.uint64).reshape(len(qs), -1, 2, 2)
    out = np.empty((len(qs), words.shape[1], 2, 2), np.uint64)
    for m in range(words.shape[1]):
        for j in range(2):
            first, last = words[:, m, 0, j], words[:, m, 1, j]
            out[:, m, 0, j] = first & LOW | (last & LOW) << FOUR
            out[:, m, 1, j] = first >> FOUR & LOW | last & ~LOW
    return out.view(np.uint8).reshape(len(qs), -1, 2, 16)


def _fifth_bits(bits: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Bits, uint8 [n, m, 32] -> [n, m, 4]: bit i of byte j is that of element 4 i + j."""
    of_words = bits.reshape(*bits.shape[:2], 8, 4)
    out = np.zeros((*bits.shape[:2], 4), np.uint8)
    for i in range(8):
        out |= of_words[:, :, i] << np.uint8(i)
    return out


PAIRS = np.uint32(0x03030303)


def _bit_pairs_of(qh: U8) -> npt.NDArray[Any]:
    """Bytes [n, m, 32], in which four groups have two bits of each element -> [n, m, 4, 2, 4].

    Bits 2 i of byte j of word h of a group are element 16 h + 4 i + j.
    """
    words = np.ascontiguousarray(qh).view(np.uint32).reshape(len(qh), -1, 2, 4)
    out = np.zeros((len(qh), words.shape[1], 4, 2), np.uint32)
    for m in range(words.shape[1]):
        for group, h, i in np.ndindex(4, 2, 4):
            out[:, m, group, h] |= (words[:, m, h, i] >> np.uint32(2 * group) & PAIRS) << np.uint32(2 * i)
    return out.view(np.uint8).reshape(len(qh), -1, 4, 2, 4)


# ---- one function for each format


def _q4_0(blocks: U8) -> Planes:
    b = blocks.view(Q4_0)[:, 0]
    return {"w": b["qs"], "scales": _pair(b["d"])}


def _q4_1(blocks: U8) -> Planes:
    b = blocks.view(Q4_1)[:, 0]
    return {"w": b["qs"], "scales": _pair(b["d"], b["m"])}


def _fifth(qh: U8) -> npt.NDArray[Any]:
    return _fifth_bits(np.unpackbits(qh, axis=1, bitorder="little")[:, None])


def _q5_0(blocks: U8) -> Planes:
    b = blocks.view(Q5_0)[:, 0]
    return {"w": b["qs"], "high": _fifth(b["qh"]), "scales": _pair(b["d"])}


def _q5_1(blocks: U8) -> Planes:
    b = blocks.view(Q5_1)[:, 0]
    return {"w": b["qs"], "high": _fifth(b["qh"]), "scales": _pair(b["d"], b["m"])}


def _q8_0(blocks: U8) -> Planes:
    b = blocks.view(Q8_0)[:, 0]
    return {"w": b["qs"], "scales": _pair(b["d"])}


def _six_bits(b: Blocks) -> U32:
    scales, minima = unpack_scales(b["scales"])
    return _with_bytes(_pair(b["d"], b["dmin"]), np.stack([scales, minima], axis=2).reshape(-1, 16))


def _q4_k(blocks: U8) -> Planes:
    b = blocks.view(Q4_K)[:, 0]
    return {"w": _split_nibbles(b["qs"].reshape(-1, 4, 32)), "scales": _six_bits(b)}


EIGHT = np.arange(8, dtype=np.uint8)[:, None]
TWO_BITS = np.array([0, 2, 4, 6], np.uint8)[:, None]


def _q5_k(blocks: U8) -> Planes:
    b = blocks.view(Q5_K)[:, 0]
    high = _fifth_bits(b["qh"][:, None, :] >> EIGHT & 1)
    return {"w": _split_nibbles(b["qs"].reshape(-1, 4, 32)), "high": high, "scales": _six_bits(b)}


def _q6_k(blocks: U8) -> Planes:
    """Each half of 128 elements has its first two groups in the low nibbles of `ql`, the others in the high ones."""
    b = blocks.view(Q6_K)[:, 0]
    low = _split_nibbles(b["ql"].reshape(-1, 4, 32)).reshape(-1, 2, 2, 2, 16).swapaxes(2, 3)
    high = _bit_pairs_of(b["qh"].reshape(-1, 2, 32))
    return {"w": low, "high": high, "scales": _with_bytes(_pair(b["d"]), b["scales"])}


def _bit_pairs(qs: U8) -> npt.NDArray[Any]:
    return (qs.reshape(-1, 2, 1, 32) >> TWO_BITS & 3).reshape(-1, 256)


def _q2_k(blocks: U8) -> Planes:
    b = blocks.view(Q2_K)[:, 0]
    return {"w": _nibbles(_bit_pairs(b["qs"])), "scales": _with_bytes(_pair(b["d"], b["dmin"]), b["scales"])}


def _q3_k(blocks: U8) -> Planes:
    b = blocks.view(Q3_K)[:, 0]
    high = (b["hmask"][:, None, :] >> EIGHT & 1).reshape(-1, 256)
    scales = _with_bytes(_pair(b["d"]), unpack_signed_scales(b["scales"]))
    return {"w": _nibbles(_bit_pairs(b["qs"]) | high << 2), "scales": scales}


UNPACK: dict[str, Unpack] = {
    "Q4_0": Unpack(4, 32, _with_zero(PAIR, 8), _q4_0),
    "Q4_1": Unpack(4, 32, _with_zero(PAIR, 0), _q4_1),
    "Q5_0": Unpack(5, 32, _with_zero(PAIR, 16), _q5_0),
    "Q5_1": Unpack(5, 32, _with_zero(PAIR, 0), _q5_1),
    "Q8_0": Unpack(8, 32, _with_zero(PAIR, 0), _q8_0),
    "Q2_K": Unpack(4, 16, AFFINE_16, _q2_k),
    "Q3_K": Unpack(4, 16, _with_zero(SYMMETRIC_16, 4), _q3_k),
    "Q4_K": Unpack(4, 32, AFFINE_32, _q4_k),
    "Q5_K": Unpack(5, 32, AFFINE_32, _q5_k),
    "Q6_K": Unpack(6, 16, _with_zero(SYMMETRIC_16, 32), _q6_k),
}
"""Formats whose codes are kept, by name."""
HALVES = {"F16": "form_f16", "BF16": "form_bf16"}


def form_of(type_name: str) -> Form:
    """Return the form of a format."""
    if type_name in UNPACK:
        row = UNPACK[type_name]
        has_high = row.bits in (5, 6)
        constants: dict[str, Constant] = {
            "BITS": row.bits,
            "HAS_HIGH": has_high,
            "HALVES": row.group == 16,
            "SCALE_OF": row.scale_of,
        }
        return Form("form_blocks", constants)
    return Form(HALVES.get(type_name, "form_f32"), {})


def packed(data: U8, type_name: str) -> Planes:
    """Return rows of a file, uint8 [n_rows, row_bytes], in their form: arrays by the name of the binding.

    Rows of floats are padded to a multiple of four elements.
    """
    if type_name in UNPACK:
        blocks = np.ascontiguousarray(data).reshape(-1, FORMATS[type_name].n_bytes)
        return {name: np.ascontiguousarray(plane) for name, plane in UNPACK[type_name].planes(blocks).items()}
    rows = data.view(np.uint16) if type_name in HALVES else dequantize(data, type_name)
    padding = -rows.shape[1] % 4
    return {"w": np.pad(rows, ((0, 0), (0, padding))) if padding else rows}


def row_bytes(type_name: str, k: int) -> int:
    """Return the bytes of the largest array of a row of k elements in its form."""
    if type_name in UNPACK:
        return k if UNPACK[type_name].bits == 8 else k // 2
    return (2 if type_name in HALVES else 4) * (-(-k // 4) * 4)
