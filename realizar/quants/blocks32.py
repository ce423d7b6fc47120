"""Q4_0, Q4_1, Q5_0, Q5_1 and Q8_0: quantization blocks of 32 elements with one float16 scale.

x = d * (q - zero) in the `_0` formats, x = d * q + m in the `_1` formats. Layouts and rounding
are ggml's (`block_q4_0` etc. in ggml-common.h, `quantize_row_*_ref` in ggml-quants.c).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from realizar.errors import ParameterError

U8 = NDArray[np.uint8]
F32 = NDArray[np.float32]
Bits = NDArray[np.integer[Any]]  # uint8 at run time; numpy's stubs lose the type with int literals

Q4_0 = np.dtype([("d", "<f2"), ("qs", "u1", 16)])
Q4_1 = np.dtype([("d", "<f2"), ("m", "<f2"), ("qs", "u1", 16)])
Q5_0 = np.dtype([("d", "<f2"), ("qh", "u1", 4), ("qs", "u1", 16)])
Q5_1 = np.dtype([("d", "<f2"), ("m", "<f2"), ("qh", "u1", 4), ("qs", "u1", 16)])
Q8_0 = np.dtype([("d", "<f2"), ("qs", "i1", 32)])


def dequantize_q4_0(blocks: U8) -> F32:
    """uint8[n, 18] -> float32[n, 32]."""
    b = blocks.view(Q4_0)[:, 0]
    return _column(b["d"]) * (_nibbles(b["qs"]).astype(np.float32) - 8)


def dequantize_q4_1(blocks: U8) -> F32:
    """uint8[n, 20] -> float32[n, 32]."""
    b = blocks.view(Q4_1)[:, 0]
    return _column(b["d"]) * _nibbles(b["qs"]).astype(np.float32) + _column(b["m"])


def dequantize_q5_0(blocks: U8) -> F32:
    """uint8[n, 22] -> float32[n, 32]."""
    b = blocks.view(Q5_0)[:, 0]
    return _column(b["d"]) * (_five_bits(b["qs"], b["qh"]).astype(np.float32) - 16)


def dequantize_q5_1(blocks: U8) -> F32:
    """uint8[n, 24] -> float32[n, 32]."""
    b = blocks.view(Q5_1)[:, 0]
    return _column(b["d"]) * _five_bits(b["qs"], b["qh"]).astype(np.float32) + _column(b["m"])


def dequantize_q8_0(blocks: U8) -> F32:
    """uint8[n, 34] -> float32[n, 32]."""
    b = blocks.view(Q8_0)[:, 0]
    return b["qs"].astype(np.float32) * _column(b["d"])


def quantize_q4_0(x: F32) -> U8:
    """float32[n, 32] -> uint8[n, 18]; the value farthest from zero becomes -8."""
    d, q = _around_zero(x, 8)
    return _pack(Q4_0, d=d, qs=_join_nibbles(q))


def quantize_q4_1(x: F32) -> U8:
    """float32[n, 32] -> uint8[n, 20]; the smallest value becomes 0, the largest 15."""
    d, m, q = _from_minimum(x, 15)
    return _pack(Q4_1, d=d, m=m, qs=_join_nibbles(q))


def quantize_q5_0(x: F32) -> U8:
    """float32[n, 32] -> uint8[n, 22]; the value farthest from zero becomes -16."""
    d, q = _around_zero(x, 16)
    return _pack(Q5_0, d=d, qh=_fifth_bits(q), qs=_join_nibbles(q))


def quantize_q5_1(x: F32) -> U8:
    """float32[n, 32] -> uint8[n, 24]; the smallest value becomes 0, the largest 31."""
    d, m, q = _from_minimum(x, 31)
    return _pack(Q5_1, d=d, m=m, qh=_fifth_bits(q), qs=_join_nibbles(q))


def quantize_q8_0(x: F32) -> U8:
    """float32[n, 32] -> uint8[n, 34]; to the nearest, ties away from zero."""
    d = np.abs(x).max(axis=1, keepdims=True) / np.float32(127)
    scaled = x * inverse(d)
    whole = np.trunc(scaled)
    return _pack(Q8_0, d=d, qs=whole + np.trunc(2 * (scaled - whole)))


def inverse(d: F32) -> F32:
    """Return 1 / d, or 0 if d is 0 or so small that 1 / d is infinite (such a d is 0 in float16)."""
    one_over = np.float32(1) / d
    return np.where(np.isfinite(one_over), one_over, np.float32(0))


def to_f16(scale: F32) -> NDArray[np.float16]:
    """Round scales to float16; raises ParameterError if one is too large."""
    rounded = scale.astype(np.float16)
    if not np.isfinite(rounded).all():
        raise ParameterError(
            f"quantize: a block needs the scale {np.abs(scale).max():g}, but the largest float16 is 65504"
        )
    return rounded


def _column(scales: NDArray[np.float16]) -> F32:
    return scales.astype(np.float32)[:, None]


def _nibbles(qs: U8) -> U8:
    return np.concatenate([qs & 15, qs >> 4], axis=1)


def _five_bits(qs: U8, qh: U8) -> Bits:
    return _nibbles(qs) | np.unpackbits(qh, axis=1, bitorder="little") << 4


def _join_nibbles(q: U8) -> Bits:
    return q[:, :16] & 15 | q[:, 16:] << 4


def _fifth_bits(q: U8) -> U8:
    return np.packbits(q >> 4, axis=1, bitorder="little")


def _around_zero(x: F32, zero: int) -> tuple[F32, U8]:
    extreme = np.take_along_axis(x, np.abs(x).argmax(axis=1, keepdims=True), axis=1)
    d = extreme / np.float32(-zero)
    q = np.trunc(x * inverse(d) + np.float32(zero + 0.5))
    return d, np.minimum(q, 2 * zero - 1).astype(np.uint8)


def _from_minimum(x: F32, n_max: int) -> tuple[F32, F32, U8]:
    m = x.min(axis=1, keepdims=True)
    d = (x.max(axis=1, keepdims=True) - m) / np.float32(n_max)
    q = np.trunc((x - m) * inverse(d) + np.float32(0.5))
    return d, m, np.minimum(q, n_max).astype(np.uint8)


def _pack(layout: np.dtype[np.void], **fields: NDArray[Any]) -> U8:
    out = np.empty((len(fields["d"]), 1), layout)
    for name, values in fields.items():
        out[name][:, 0] = to_f16(values)[:, 0] if name in ("d", "m") else values
    return out.view(np.uint8)
