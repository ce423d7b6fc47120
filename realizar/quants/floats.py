"""F32, F16 and BF16: plain floating-point formats."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

U8 = NDArray[np.uint8]
F32 = NDArray[np.float32]


def dequantize_f32(blocks: U8) -> F32:
    """uint8[n, 4] -> float32[n, 1]."""
    return blocks.view("<f4")


def quantize_f32(x: F32) -> U8:
    """float32[n, 1] -> uint8[n, 4]."""
    return x.astype("<f4").view(np.uint8)


def dequantize_f16(blocks: U8) -> F32:
    """uint8[n, 2] -> float32[n, 1]; exact."""
    return blocks.view("<f2").astype(np.float32)


def quantize_f16(x: F32) -> U8:
    """float32[n, 1] -> uint8[n, 2]; to the nearest, ties to even, too large ones to infinity."""
    return x.astype("<f2").view(np.uint8)


def dequantize_bf16(blocks: U8) -> F32:
    """uint8[n, 2] -> float32[n, 1]: the upper half of a float32."""
    return (blocks.view("<u2").astype("<u4") << 16).view(np.float32)


def quantize_bf16(x: F32) -> U8:
    """float32[n, 1] -> uint8[n, 2]; to the nearest, ties to even; a NaN becomes a quiet one."""
    bits = x.view(np.uint32)
    rounded = (bits + (0x7FFF + ((bits >> 16) & 1))) >> 16
    # Rounding could turn a NaN into infinity or zero, so NaNs are truncated.
    is_nan = (bits & 0x7FFFFFFF) > 0x7F800000
    return np.where(is_nan, (bits >> 16) | 0x40, rounded).astype("<u2").view(np.uint8)
