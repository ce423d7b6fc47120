"""NVFP4: quantization blocks of 64 4-bit floats in groups of 16, each with a scale of 8 bits (UE4M3).

x = scale * v with v in FP4 E2M1 and an unsigned E4M3 scale (NVIDIA, "Introducing NVFP4", 2025). As in ggml
(`block_nvfp4` in ggml-common.h), v is doubled to make it an integer, and the scale is halved; a scale byte of 0x7f
is 0.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from realizar.quants.mxfp4 import VALUES

U8 = NDArray[np.uint8]
F32 = NDArray[np.float32]

LARGEST = np.float32(448)


def dequantize_nvfp4(blocks: U8) -> F32:
    """uint8[n, 36] -> float32[n, 64]; four scales, then 8 bytes a group: low nibbles first, then high ones."""
    qs = blocks[:, 4:].reshape(-1, 4, 8)
    values: F32 = VALUES[np.concatenate([qs & 15, qs >> 4], axis=2)]
    return (_scale(blocks[:, :4])[:, :, None] * values).reshape(-1, 64)


def quantize_nvfp4(x: F32) -> U8:
    """float32[n, 64] -> uint8[n, 36]; scales for which the largest magnitude is 6, values to the nearest."""
    groups = x.reshape(-1, 4, 16)
    scale = _round_scale(np.abs(groups).max(axis=2) / np.float32(6))
    q = np.empty(groups.shape, np.uint8)
    for g in range(4):  # one group at a time: an array of sixteen candidates per element is large
        error = np.abs(_scale(scale[:, g : g + 1])[:, :, None] * VALUES - groups[:, g, :, None])
        q[:, g] = error.argmin(axis=2)
    return np.concatenate([scale, (q[:, :, :8] | q[:, :, 8:] << 4).reshape(-1, 32)], axis=1)


def _scale(e4m3: U8) -> F32:
    """Half of an unsigned E4M3 number with bias 7; bit 7 is ignored."""
    exponent, mantissa = e4m3 >> 3 & 15, (e4m3 & 7).astype(np.float32)
    fraction = np.where(exponent == 0, mantissa, mantissa + 8)
    value = np.ldexp(fraction, np.maximum(exponent, 1).astype(np.int32) - 11)
    return np.where(e4m3 == 0x7F, 0, value).astype(np.float32)


def _round_scale(x: F32) -> U8:
    """To E4M3: to the nearest, ties upwards, at most 448."""
    bits = np.minimum(x, LARGEST).view(np.uint32)
    rounded = (bits + np.uint32(1 << 19) >> 20).astype(np.int64) - (120 << 3)
    small = np.minimum(np.floor(np.minimum(x, LARGEST) * np.float32(512) + np.float32(0.5)), 7)
    return np.where(bits >> 23 <= 120, small, np.minimum(rounded, 0x7E)).astype(np.uint8)
