"""Formats with codes of four to eight bits: how their blocks become planes, and the WGSL that reads their scales."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from realizar.backends.wgpu.planes import (
    U8,
    U32,
    Blocks,
    Planes,
    Unpack,
    bits_of,
    half_of,
    halves,
    nibbles,
    pair,
    with_bytes,
)
from realizar.quants.blocks32 import Q4_0, Q4_1, Q5_0, Q5_1, Q8_0
from realizar.quants.iquants import IQ4_NL, IQ4_VALUES, IQ4_XS
from realizar.quants.kquants import Q4_K, Q5_K, Q6_K, unpack_scales
from realizar.quants.mxfp4 import VALUES

# ---- the WGSL that reads scales


def _symmetric(zero: int) -> str:
    """A float16 for 32 elements; `zero` is the code of a zero."""
    return half_of(32) + f"    return vec2<f32>(d, -{zero}.0 * d);"


PAIR = """\
    return unpack2x16float(scales[row * GROUPS + c / 8u]);"""
"""A word for 32 elements: two float16, scale and minimum."""
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
    return vec2<f32>(d, -32.0 * d);"""
"""Five words for 256 elements: d as float16; the scale of each 16, a signed byte."""
EXPONENT = """\
    let e = byte(scales[row * ((GROUPS + 3u) / 4u) + c / 32u], (c / 8u) % 4u);
    return vec2<f32>(bitcast<f32>(select((max(e, 1u) - 1u) << 23u, 0x00200000u << min(e, 1u), e < 2u)), 0.0);"""
"""A byte e for 32 elements: half of 2^(e - 127)."""
E4M3 = """\
    let e = byte(scales[row * ((ROW_FOURS / 4u + 3u) / 4u) + c / 16u], (c / 4u) % 4u) & 0x7fu;
    let mantissa = f32((e & 7u) + select(8u, 0u, e < 8u));
    let power = bitcast<f32>((max(e >> 3u, 1u) + 116u) << 23u);
    return vec2<f32>(select(mantissa * power, 0.0, e == 0x7fu), 0.0);"""
"""A byte for 16 elements: half of an unsigned E4M3 number."""
SIX_BITS = """\
    let at = 2u * (row * (GROUPS / 8u) + c / 64u);
    let i = (c / 8u) % 8u;
    let s = ((scales[at + 1u] >> (4u * i)) & 15u) | (((scales[at] >> (16u + 2u * i)) & 3u) << 4u);
    return vec2<f32>(unpack2x16float(scales[at]).x * (f32(s) - 32.0), 0.0);"""
"""Two words for 256 elements: d, upper bits of the scales of each 32, and their nibbles, as in the file."""


# ---- codes


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
    return {"w": b["qs"], "scales": halves(b["d"])}


def _q4_1(blocks: U8) -> Planes:
    b = blocks.view(Q4_1)[:, 0]
    return {"w": b["qs"], "scales": pair(b["d"], b["m"])}


def _fifth(qh: U8) -> npt.NDArray[Any]:
    return bits_of(np.unpackbits(qh, axis=1, bitorder="little")[:, None])


def _q5_0(blocks: U8) -> Planes:
    b = blocks.view(Q5_0)[:, 0]
    return {"w": b["qs"], "high": _fifth(b["qh"]), "scales": halves(b["d"])}


def _q5_1(blocks: U8) -> Planes:
    b = blocks.view(Q5_1)[:, 0]
    return {"w": b["qs"], "high": _fifth(b["qh"]), "scales": pair(b["d"], b["m"])}


def _q8_0(blocks: U8) -> Planes:
    b = blocks.view(Q8_0)[:, 0]
    return {"w": b["qs"], "scales": halves(b["d"])}


def _six_bits(b: Blocks) -> U32:
    scales, minima = unpack_scales(b["scales"])
    return with_bytes(pair(b["d"], b["dmin"]), np.stack([scales, minima], axis=2).reshape(-1, 16))


def _q4_k(blocks: U8) -> Planes:
    b = blocks.view(Q4_K)[:, 0]
    return {"w": _split_nibbles(b["qs"].reshape(-1, 4, 32)), "scales": _six_bits(b)}


EIGHT = np.arange(8, dtype=np.uint8)[:, None]


def _q5_k(blocks: U8) -> Planes:
    b = blocks.view(Q5_K)[:, 0]
    high = bits_of(b["qh"][:, None, :] >> EIGHT & 1)
    return {"w": _split_nibbles(b["qs"].reshape(-1, 4, 32)), "high": high, "scales": _six_bits(b)}


def _q6_k(blocks: U8) -> Planes:
    """Each half of 128 elements has its first two groups in the low nibbles of `ql`, the others in the high ones."""
    b = blocks.view(Q6_K)[:, 0]
    low = _split_nibbles(b["ql"].reshape(-1, 4, 32)).reshape(-1, 2, 2, 2, 16).swapaxes(2, 3)
    high = _bit_pairs_of(b["qh"].reshape(-1, 2, 32))
    return {"w": low, "high": high, "scales": with_bytes(pair(b["d"]), b["scales"])}


def _mxfp4(blocks: U8) -> Planes:
    return {"w": blocks[:, 1:], "scales": blocks[:, :1]}


def _nvfp4(blocks: U8) -> Planes:
    qs = blocks[:, 4:].reshape(-1, 4, 8)
    return {"w": nibbles(np.concatenate([qs & 15, qs >> 4], axis=2)), "scales": blocks[:, :4]}


def _iq4_nl(blocks: U8) -> Planes:
    b = blocks.view(IQ4_NL)[:, 0]
    return {"w": b["qs"], "scales": halves(b["d"])}


def _iq4_xs(blocks: U8) -> Planes:
    return {"w": blocks.view(IQ4_XS)[:, 0]["qs"], "scales": blocks[:, :8]}


FP4 = tuple(VALUES.astype(int).tolist())
IQ4 = tuple(IQ4_VALUES.astype(int).tolist())

UNPACK: dict[str, Unpack] = {
    "Q4_0": Unpack(32, _symmetric(8), _q4_0, 4),
    "Q4_1": Unpack(32, PAIR, _q4_1, 4),
    "Q5_0": Unpack(32, _symmetric(16), _q5_0, 5, has_high=True),
    "Q5_1": Unpack(32, PAIR, _q5_1, 5, has_high=True),
    "Q8_0": Unpack(32, _symmetric(0), _q8_0, 8),
    "Q4_K": Unpack(32, AFFINE_32, _q4_k, 4),
    "Q5_K": Unpack(32, AFFINE_32, _q5_k, 5, has_high=True),
    "Q6_K": Unpack(16, SYMMETRIC_16, _q6_k, 6, has_high=True),
    "MXFP4": Unpack(32, EXPONENT, _mxfp4, 4, FP4),
    "NVFP4": Unpack(16, E4M3, _nvfp4, 4, FP4),
    "IQ4_NL": Unpack(32, _symmetric(0), _iq4_nl, 4, IQ4),
    "IQ4_XS": Unpack(32, SIX_BITS, _iq4_xs, 4, IQ4),
}
"""Formats whose codes are kept in planes, by name."""
