"""Q4_K, Q5_K and Q6_K: formats of 256 elements, in groups with an integer scale of their own.

Q4_K, Q5_K: eight groups of 32, x = (d * sc) * q - (dmin * m), sc and m of six bits.
Q6_K: sixteen groups of 16, x = (d * sc) * (q - 32), sc an int8.
The layouts are ggml's (`block_q4_K` and its kin in ggml-common.h).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from realizar.quants.blocks32 import Bits, inverse, to_f16
from realizar.quants.search import fit_affine, fit_symmetric

U8 = NDArray[np.uint8]
F32 = NDArray[np.float32]

Q4_K = np.dtype([("d", "<f2"), ("dmin", "<f2"), ("scales", "u1", 12), ("qs", "u1", 128)])
Q5_K = np.dtype([("d", "<f2"), ("dmin", "<f2"), ("scales", "u1", 12), ("qh", "u1", 32), ("qs", "u1", 128)])
Q6_K = np.dtype([("ql", "u1", 128), ("qh", "u1", 64), ("scales", "i1", 16), ("d", "<f2")])

EIGHT = np.arange(8, dtype=np.uint8)[:, None]
TWO_BITS = np.array([0, 2, 4, 6], np.uint8)[:, None]


def dequantize_q4_k(blocks: U8) -> F32:
    """uint8[n, 144] -> float32[n, 256]."""
    b = blocks.view(Q4_K)[:, 0]
    return _affine(b, _nibbles(b["qs"]))


def dequantize_q5_k(blocks: U8) -> F32:
    """uint8[n, 176] -> float32[n, 256]; bit g of qh belongs to group g."""
    b = blocks.view(Q5_K)[:, 0]
    high = b["qh"][:, None, :] >> EIGHT & 1
    return _affine(b, _nibbles(b["qs"]) | high << 4)


def dequantize_q6_k(blocks: U8) -> F32:
    """uint8[n, 210] -> float32[n, 256]; two halves of 128 elements, each four rows of 32."""
    b = blocks.view(Q6_K)[:, 0]
    ql = b["ql"].reshape(-1, 2, 64)
    low = np.concatenate([ql & 15, ql >> 4], axis=2).reshape(-1, 2, 4, 32)
    high = b["qh"].reshape(-1, 2, 1, 32) >> TWO_BITS & 3
    q = (low | high << 4).reshape(-1, 16, 16).astype(np.float32) - 32
    scale = b["d"].astype(np.float32)[:, None] * b["scales"].astype(np.float32)
    x: F32 = scale[:, :, None] * q
    return x.reshape(-1, 256)


def quantize_q4_k(x: F32) -> U8:
    """float32[n, 256] -> uint8[n, 144]."""
    out, q = _quantize_affine(x, Q4_K, 15)
    out["qs"] = _join_nibbles(q)
    return out.view(np.uint8).reshape(len(x), -1)


def quantize_q5_k(x: F32) -> U8:
    """float32[n, 256] -> uint8[n, 176]."""
    out, q = _quantize_affine(x, Q5_K, 31)
    out["qs"] = _join_nibbles(q & 15)
    out["qh"] = np.bitwise_or.reduce(q >> 4 << EIGHT, axis=1)
    return out.view(np.uint8).reshape(len(x), -1)


def quantize_q6_k(x: F32) -> U8:
    """float32[n, 256] -> uint8[n, 210]."""
    x = x.reshape(-1, 16, 16)
    scale = fit_symmetric(x, 32)
    extreme = np.take_along_axis(scale, np.abs(scale).argmax(axis=1, keepdims=True), axis=1)
    d = to_f16(extreme / np.float32(-128))
    step = d.astype(np.float32)
    sc = np.clip(np.rint(scale * inverse(step)), -128, 127)
    q = np.clip(np.rint(x * inverse(step * sc)[:, :, None]), -32, 31) + 32
    q = q.astype(np.uint8).reshape(-1, 2, 4, 32)
    out = np.empty(len(x), Q6_K)
    out["d"], out["scales"] = d[:, 0], sc
    out["ql"] = (q[:, :, :2] & 15 | q[:, :, 2:] << 4).reshape(-1, 128)
    out["qh"] = np.bitwise_or.reduce(q >> 4 << TWO_BITS, axis=2).reshape(-1, 64)
    return out.view(np.uint8).reshape(len(x), -1)


def unpack_scales(packed: U8) -> tuple[U8, U8]:
    """uint8[n, 12] -> the six-bit scales and minima, uint8[n, 8] each.

    Groups 0 to 3 lie in the low six bits of bytes 0-3 (scales) and 4-7 (minima); groups 4 to 7 have
    their low four bits in bytes 8-11 and their upper two in the top of the others.
    """
    a, b, c = packed[:, :4], packed[:, 4:8], packed[:, 8:]
    scales = np.concatenate([a & 63, c & 15 | a >> 6 << 4], axis=1)
    minima = np.concatenate([b & 63, c >> 4 | b >> 6 << 4], axis=1)
    return scales, minima


def _pack_scales(sc: U8, m: U8) -> U8:
    first = sc[:, :4] | sc[:, 4:] >> 4 << 6
    second = m[:, :4] | m[:, 4:] >> 4 << 6
    return np.concatenate([first, second, sc[:, 4:] & 15 | m[:, 4:] << 4], axis=1)


def _affine(b: NDArray[np.void], q: Bits) -> F32:
    sc, m = unpack_scales(b["scales"])
    scale = b["d"].astype(np.float32)[:, None] * sc.astype(np.float32)
    minimum = b["dmin"].astype(np.float32)[:, None] * m.astype(np.float32)
    return (scale[:, :, None] * q.astype(np.float32) - minimum[:, :, None]).reshape(-1, 256)


def _quantize_affine(x: F32, layout: np.dtype[np.void], n_max: int) -> tuple[NDArray[np.void], U8]:
    x = x.reshape(-1, 8, 32)
    scale, minimum = fit_affine(x, n_max)
    d = to_f16(scale.max(axis=1, keepdims=True) / np.float32(63))
    dmin = to_f16(minimum.max(axis=1, keepdims=True) / np.float32(63))
    # What a reader multiplies with are the rounded d and dmin, so the integers are chosen for these.
    d32, dmin32 = d.astype(np.float32), dmin.astype(np.float32)
    sc = np.minimum(np.rint(scale * inverse(d32)), 63)
    m = np.minimum(np.rint(minimum * inverse(dmin32)), 63)
    q = np.rint((x + (dmin32 * m)[:, :, None]) * inverse(d32 * sc)[:, :, None])
    out = np.empty(len(x), layout)
    out["d"], out["dmin"] = d[:, 0], dmin[:, 0]
    out["scales"] = _pack_scales(sc.astype(np.uint8), m.astype(np.uint8))
    return out, np.clip(q, 0, n_max).astype(np.uint8)


def _nibbles(qs: U8) -> U8:
    pairs = qs.reshape(-1, 4, 1, 32)
    return np.concatenate([pairs & 15, pairs >> 4], axis=2).reshape(-1, 8, 32)


def _join_nibbles(q: Bits) -> Bits:
    pairs = q.reshape(-1, 4, 2, 32)
    return (pairs[:, :, 0] | pairs[:, :, 1] << 4).reshape(-1, 128)
