"""Q2_K to Q6_K (k-quants): quantization blocks of 256 elements, in groups with integer scales.

Q4_K, Q5_K: eight groups of 32, x = (d * sc) * q - (dmin * m), sc and m of six bits.
Q2_K: sixteen groups of 16, the same with sc and m of four bits.
Q6_K: sixteen groups of 16, x = (d * sc) * (q - 32), sc an int8.
Q3_K: sixteen groups of 16, x = (d * (sc - 32)) * (q - 4), sc of six bits.
The layouts are ggml's (`block_q4_K` etc. in ggml-common.h).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from realizar.quants.blocks32 import Bits, inverse, to_f16
from realizar.quants.scale_search import fit_affine, fit_symmetric

U8 = NDArray[np.uint8]
F16 = NDArray[np.float16]
F32 = NDArray[np.float32]

Q2_K = np.dtype([("scales", "u1", 16), ("qs", "u1", 64), ("d", "<f2"), ("dmin", "<f2")])
Q3_K = np.dtype([("hmask", "u1", 32), ("qs", "u1", 64), ("scales", "u1", 12), ("d", "<f2")])
Q4_K = np.dtype([("d", "<f2"), ("dmin", "<f2"), ("scales", "u1", 12), ("qs", "u1", 128)])
Q5_K = np.dtype([("d", "<f2"), ("dmin", "<f2"), ("scales", "u1", 12), ("qh", "u1", 32), ("qs", "u1", 128)])
Q6_K = np.dtype([("ql", "u1", 128), ("qh", "u1", 64), ("scales", "i1", 16), ("d", "<f2")])

EIGHT = np.arange(8, dtype=np.uint8)[:, None]
TWO_BITS = np.array([0, 2, 4, 6], np.uint8)[:, None]


def dequantize_q2_k(blocks: U8) -> F32:
    """uint8[n, 84] -> float32[n, 256]; the low nibble of a scale byte is the scale, the high one the minimum."""
    b = blocks.view(Q2_K)[:, 0]
    return _affine(b, b["scales"] & 15, b["scales"] >> 4, _bit_pairs(b["qs"]).reshape(-1, 16, 16))


def dequantize_q3_k(blocks: U8) -> F32:
    """uint8[n, 110] -> float32[n, 256]; bit g of hmask belongs to group g of 32."""
    b = blocks.view(Q3_K)[:, 0]
    high = b["hmask"][:, None, :] >> EIGHT & 1
    q = (_bit_pairs(b["qs"]) | high << 2).reshape(-1, 16, 16)
    return _symmetric(b["d"], unpack_signed_scales(b["scales"]), q.astype(np.float32) - 4)


def dequantize_q4_k(blocks: U8) -> F32:
    """uint8[n, 144] -> float32[n, 256]."""
    b = blocks.view(Q4_K)[:, 0]
    return _affine(b, *unpack_scales(b["scales"]), _nibbles(b["qs"]))


def dequantize_q5_k(blocks: U8) -> F32:
    """uint8[n, 176] -> float32[n, 256]; bit g of qh belongs to group g."""
    b = blocks.view(Q5_K)[:, 0]
    high = b["qh"][:, None, :] >> EIGHT & 1
    return _affine(b, *unpack_scales(b["scales"]), _nibbles(b["qs"]) | high << 4)


def dequantize_q6_k(blocks: U8) -> F32:
    """uint8[n, 210] -> float32[n, 256]; two halves of 128 elements, each four rows of 32."""
    b = blocks.view(Q6_K)[:, 0]
    ql = b["ql"].reshape(-1, 2, 64)
    low = np.concatenate([ql & 15, ql >> 4], axis=2).reshape(-1, 2, 4, 32)
    high = b["qh"].reshape(-1, 2, 1, 32) >> TWO_BITS & 3
    q = (low | high << 4).reshape(-1, 16, 16).astype(np.float32) - 32
    return _symmetric(b["d"], b["scales"], q)


def quantize_q2_k(x: F32) -> U8:
    """float32[n, 256] -> uint8[n, 84]."""
    out, sc, m, q = _quantize_affine(x.reshape(-1, 16, 16), Q2_K, 3, 15)
    out["scales"], out["qs"] = sc | m << 4, _join_bit_pairs(q)
    return _bytes(out)


def quantize_q3_k(x: F32) -> U8:
    """float32[n, 256] -> uint8[n, 110]."""
    out, sc, q = _quantize_symmetric(x, Q3_K, 4, 32)
    out["scales"], out["qs"] = _pack_signed_scales(sc), _join_bit_pairs(q & 3)
    out["hmask"] = np.bitwise_or.reduce(q.reshape(-1, 8, 32) >> 2 << EIGHT, axis=1)
    return _bytes(out)


def quantize_q4_k(x: F32) -> U8:
    """float32[n, 256] -> uint8[n, 144]."""
    out, sc, m, q = _quantize_affine(x.reshape(-1, 8, 32), Q4_K, 15, 63)
    out["scales"], out["qs"] = _pack_scales(sc, m), _join_nibbles(q)
    return _bytes(out)


def quantize_q5_k(x: F32) -> U8:
    """float32[n, 256] -> uint8[n, 176]."""
    out, sc, m, q = _quantize_affine(x.reshape(-1, 8, 32), Q5_K, 31, 63)
    out["scales"], out["qs"] = _pack_scales(sc, m), _join_nibbles(q & 15)
    out["qh"] = np.bitwise_or.reduce(q >> 4 << EIGHT, axis=1)
    return _bytes(out)


def quantize_q6_k(x: F32) -> U8:
    """float32[n, 256] -> uint8[n, 210]."""
    out, sc, q = _quantize_symmetric(x, Q6_K, 32, 128)
    q = q.reshape(-1, 2, 4, 32)
    out["scales"] = sc
    out["ql"] = (q[:, :, :2] & 15 | q[:, :, 2:] << 4).reshape(-1, 128)
    out["qh"] = np.bitwise_or.reduce(q >> 4 << TWO_BITS, axis=2).reshape(-1, 64)
    return _bytes(out)


def unpack_scales(packed: U8) -> tuple[U8, U8]:
    """uint8[n, 12] -> the six-bit scales and minima, uint8[n, 8] each.

    Groups 0 to 3 are in the low six bits of bytes 0-3 (scales) and 4-7 (minima); groups 4 to 7 have
    their low four bits in bytes 8-11 and their upper two in the top of the others.
    """
    a, b, c = packed[:, :4], packed[:, 4:8], packed[:, 8:]
    scales = np.concatenate([a & 63, c & 15 | a >> 6 << 4], axis=1)
    minima = np.concatenate([b & 63, c >> 4 | b >> 6 << 4], axis=1)
    return scales, minima


def unpack_signed_scales(packed: U8) -> NDArray[np.int8]:
    """uint8[n, 12] -> the scales of Q3_K, int8[n, 16] within [-32, 31].

    Their low four bits are the low nibbles of bytes 0-7, then the high ones; the upper two of scale 4 j + i are bits
    2 j of byte 8 + i.
    """
    low = np.concatenate([packed[:, :8] & 15, packed[:, :8] >> 4], axis=1)
    high = (packed[:, None, 8:] >> TWO_BITS & 3).reshape(-1, 16)
    scales: NDArray[np.int8] = (low | high << 4).astype(np.int8) - np.int8(32)
    return scales


def _pack_scales(sc: U8, m: U8) -> U8:
    first = sc[:, :4] | sc[:, 4:] >> 4 << 6
    second = m[:, :4] | m[:, 4:] >> 4 << 6
    return np.concatenate([first, second, sc[:, 4:] & 15 | m[:, 4:] << 4], axis=1)


def _pack_signed_scales(scales: NDArray[np.int8]) -> U8:
    sc = (scales + np.int8(32)).astype(np.uint8)
    low = sc[:, :8] & 15 | sc[:, 8:] << 4
    high = np.bitwise_or.reduce(sc.reshape(-1, 4, 4) >> 4 << TWO_BITS, axis=1)
    return np.concatenate([low, high], axis=1)


def _affine(b: NDArray[np.void], sc: Bits, m: Bits, q: Bits) -> F32:
    scale = b["d"].astype(np.float32)[:, None] * sc.astype(np.float32)
    minimum = b["dmin"].astype(np.float32)[:, None] * m.astype(np.float32)
    return (scale[:, :, None] * q.astype(np.float32) - minimum[:, :, None]).reshape(-1, 256)


def _symmetric(d: F16, sc: NDArray[np.int8], q: F32) -> F32:
    scale = d.astype(np.float32)[:, None] * sc.astype(np.float32)
    return (scale[:, :, None] * q).reshape(-1, 256)


def _quantize_affine(x: F32, layout: np.dtype[np.void], q_max: int, sc_max: int) -> tuple[NDArray[np.void], U8, U8, U8]:
    """Return blocks with d and dmin set, the scales and minima of the groups x[n, group, element], and q."""
    scale, minimum = fit_affine(x, q_max)
    d = to_f16(scale.max(axis=1, keepdims=True) / np.float32(sc_max))
    dmin = to_f16(minimum.max(axis=1, keepdims=True) / np.float32(sc_max))
    # Dequantization multiplies with the rounded d and dmin, so the integers are chosen for these.
    d32, dmin32 = d.astype(np.float32), dmin.astype(np.float32)
    sc = np.minimum(np.rint(scale * inverse(d32)), sc_max)
    m = np.minimum(np.rint(minimum * inverse(dmin32)), sc_max)
    q = np.rint((x + (dmin32 * m)[:, :, None]) * inverse(d32 * sc)[:, :, None])
    out = np.empty(len(x), layout)
    out["d"], out["dmin"] = d[:, 0], dmin[:, 0]
    return out, sc.astype(np.uint8), m.astype(np.uint8), np.clip(q, 0, q_max).astype(np.uint8)


def _quantize_symmetric(
    x: F32, layout: np.dtype[np.void], q_zero: int, sc_end: int
) -> tuple[NDArray[np.void], NDArray[np.int8], U8]:
    """Return blocks with d set, the scales of 16 groups in [-sc_end, sc_end), and q + q_zero."""
    x = x.reshape(-1, 16, 16)
    scale = fit_symmetric(x, q_zero)
    extreme = np.take_along_axis(scale, np.abs(scale).argmax(axis=1, keepdims=True), axis=1)
    d = to_f16(extreme / np.float32(-sc_end))
    step = d.astype(np.float32)
    sc = np.clip(np.rint(scale * inverse(step)), -sc_end, sc_end - 1)
    q = np.clip(np.rint(x * inverse(step * sc)[:, :, None]), -q_zero, q_zero - 1) + q_zero
    out = np.empty(len(x), layout)
    out["d"] = d[:, 0]
    return out, sc.astype(np.int8), q.astype(np.uint8)


def _bytes(blocks: NDArray[np.void]) -> U8:
    return blocks.view(np.uint8).reshape(len(blocks), -1)


def _nibbles(qs: U8) -> U8:
    pairs = qs.reshape(-1, 4, 1, 32)
    return np.concatenate([pairs & 15, pairs >> 4], axis=2).reshape(-1, 8, 32)


def _join_nibbles(q: Bits) -> Bits:
    pairs = q.reshape(-1, 4, 2, 32)
    return (pairs[:, :, 0] | pairs[:, :, 1] << 4).reshape(-1, 128)


def _bit_pairs(qs: U8) -> Bits:
    """Bits 2 j of byte i of a half belong to element 32 j + i of its 128."""
    return (qs.reshape(-1, 2, 1, 32) >> TWO_BITS & 3).reshape(-1, 8, 32)


def _join_bit_pairs(q: Bits) -> Bits:
    packed: Bits = np.bitwise_or.reduce(q.reshape(-1, 2, 4, 32) << TWO_BITS, axis=2)
    return packed.reshape(-1, 64)
