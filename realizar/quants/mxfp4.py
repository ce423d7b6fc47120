"""MXFP4: quantization blocks of 32 4-bit floats with a power-of-two scale.

x = 2^(e - 127) * v with v in FP4 E2M1 (Open Compute Project, Microscaling Formats specification 1.0, 2023). As in ggml
(`block_mxfp4` in ggml-common.h), v is doubled to make it an integer, and the scale is halved.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

U8 = NDArray[np.uint8]
F32 = NDArray[np.float32]

VALUES = np.array([0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12], np.float32)


def dequantize_mxfp4(blocks: U8) -> F32:
    """uint8[n, 17] -> float32[n, 32]; exponent byte, then low nibbles (elements 0..15) and high nibbles (16..31)."""
    e, qs = blocks[:, :1], blocks[:, 1:]
    values: F32 = VALUES[np.concatenate([qs & 15, qs >> 4], axis=1)]
    return values * _scale(e)


def quantize_mxfp4(x: F32) -> U8:
    """float32[n, 32] -> uint8[n, 17]; exponent of the largest magnitude minus two, ties to the lower code."""
    amax = np.abs(x).max(axis=1, keepdims=True)
    with np.errstate(divide="ignore"):
        e = np.where(amax > 0, np.floor(np.log2(amax)) + 125, 0).clip(0, 255).astype(np.uint8)
    q = np.abs(_scale(e)[:, :, None] * VALUES - x[:, :, None]).argmin(axis=2).astype(np.uint8)
    return np.concatenate([e, q[:, :16] | q[:, 16:] << 4], axis=1)


def _scale(e: U8) -> F32:
    """2^(e - 128); the two smallest are denormal."""
    wide = e.astype(np.uint32)
    return np.where(wide < 2, np.uint32(0x00200000) << wide, (wide - 1) << 23).astype(np.uint32).view(np.float32)
