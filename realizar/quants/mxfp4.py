"""MXFP4: 32 floats of four bits and the power of two that scales them.

x = 2^(e - 127) * v, v an FP4 E2M1 number (Open Compute Project, Microscaling Formats specification 1.0, 2023). As in
ggml (`block_mxfp4` in ggml-common.h) v is taken twice as large, so that it is an integer, and the scale half as large.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

U8 = NDArray[np.uint8]
F32 = NDArray[np.float32]

VALUES = np.array([0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12], np.float32)


def dequantize_mxfp4(blocks: U8) -> F32:
    """uint8[n, 17] -> float32[n, 32]; a byte of exponent, then low nibbles: elements 0..15, high ones: 16..31."""
    e, qs = blocks[:, :1], blocks[:, 1:]
    values: F32 = VALUES[np.concatenate([qs & 15, qs >> 4], axis=1)]
    return values * _scale(e)


def quantize_mxfp4(x: F32) -> U8:
    """float32[n, 32] -> uint8[n, 17]; the exponent of the greatest magnitude less two, ties to the lower nibble."""
    amax = np.abs(x).max(axis=1, keepdims=True)
    with np.errstate(divide="ignore"):
        e = np.where(amax > 0, np.floor(np.log2(amax)) + 125, 0).clip(0, 255).astype(np.uint8)
    q = np.abs(_scale(e)[:, :, None] * VALUES - x[:, :, None]).argmin(axis=2).astype(np.uint8)
    return np.concatenate([e, q[:, :16] | q[:, 16:] << 4], axis=1)


def _scale(e: U8) -> F32:
    """2^(e - 128); the two least are denormal."""
    wide = e.astype(np.uint32)
    return np.where(wide < 2, np.uint32(0x00200000) << wide, (wide - 1) << 23).astype(np.uint32).view(np.float32)
