"""Q1_0, Q2_0, PQ2_0, PTQ1_0, TQ1_0 and TQ2_0: elements of one bit, two bits or a base-3 digit, one scale per block.

Q1_0: x = d for a set bit, else -d. The others: x = d * (q - 1), q of two bits, or a base-3 digit (0, 1 or 2).
Base 3: a byte is a fraction of 256, ceil(n * 256 / 243) for the number n of five digits. Digit i, the most significant
one first, is floor(3 * (byte * 3^i mod 256) / 256).
The layouts and the rounding are ggml's (`block_q1_0` etc. in ggml-common.h, `quantize_row_*_ref` in ggml-quants.c);
PQ2_0 and PTQ1_0 are those of PrismML's fork (https://github.com/ggml-org/llama.cpp/issues/29058).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from realizar.quants.blocks32 import Bits, inverse, to_f16

U8 = NDArray[np.uint8]
F16 = NDArray[np.float16]
F32 = NDArray[np.float32]

TWO_BITS = np.array([0, 2, 4, 6], np.uint8)
POWERS = np.array([1, 3, 9, 27, 81], np.uint8)

# Runs of bytes with interleaved base-3 digits: (bytes, digits); a run holds the first digit of each byte, then the
# second of each, and so on. d follows the last run.
TQ1_0_RUNS = ((32, 5), (16, 5), (4, 4))
PTQ1_0_RUNS = ((16, 5), (8, 5), (2, 4))


def dequantize_q1_0(blocks: U8) -> F32:
    """uint8[n, 18] -> float32[n, 128]; d, then the bits of the elements in their order, the lowest of a byte first."""
    d = _scale(blocks[:, :2])
    return np.where(np.unpackbits(blocks[:, 2:], axis=1, bitorder="little"), d, -d)


def dequantize_q2_0(blocks: U8) -> F32:
    """uint8[n, 18] -> float32[n, 64]; d, then the bit pairs of the elements in their order."""
    pairs = blocks[:, 2:, None] >> TWO_BITS & 3
    return _centered(blocks[:, :2], pairs.reshape(len(blocks), -1))


def dequantize_pq2_0(blocks: U8) -> F32:
    """uint8[n, 34] -> float32[n, 128]; as Q2_0."""
    return dequantize_q2_0(blocks)


def dequantize_ptq1_0(blocks: U8) -> F32:
    """uint8[n, 28] -> float32[n, 128]."""
    return _centered(blocks[:, 26:], digits(blocks, PTQ1_0_RUNS))


def dequantize_tq1_0(blocks: U8) -> F32:
    """uint8[n, 54] -> float32[n, 256]."""
    return _centered(blocks[:, 52:], digits(blocks, TQ1_0_RUNS))


def dequantize_tq2_0(blocks: U8) -> F32:
    """uint8[n, 66] -> float32[n, 256]; bits 2 j of byte i of a half belong to element 32 j + i of its 128, then d."""
    pairs = blocks[:, :64].reshape(-1, 2, 1, 32) >> TWO_BITS[:, None] & 3
    return _centered(blocks[:, 64:], pairs.reshape(len(blocks), -1))


def quantize_q1_0(x: F32) -> U8:
    """float32[n, 128] -> uint8[n, 18]; d is the mean magnitude, added up in order."""
    total: F32 = np.add.accumulate(np.abs(x), axis=1)[:, -1:]
    bits = np.packbits(x >= 0, axis=1, bitorder="little")
    return np.concatenate([_bytes(total / np.float32(x.shape[1])), bits], axis=1)


def quantize_q2_0(x: F32) -> U8:
    """float32[n, 64] -> uint8[n, 18]; d is the largest magnitude, so that q is 0, 1 or 2."""
    d, q = _to_ternary(x)
    return np.concatenate([_bytes(d), _join_pairs(q.reshape(len(x), -1, 4))], axis=1)


def quantize_pq2_0(x: F32) -> U8:
    """float32[n, 128] -> uint8[n, 34]; as Q2_0."""
    return quantize_q2_0(x)


def quantize_ptq1_0(x: F32) -> U8:
    """float32[n, 128] -> uint8[n, 28]; d is the largest magnitude."""
    d, q = _to_ternary(x)
    return np.concatenate([_join_digits(q, PTQ1_0_RUNS), _bytes(d)], axis=1)


def quantize_tq1_0(x: F32) -> U8:
    """float32[n, 256] -> uint8[n, 54]; d is the largest magnitude."""
    d, q = _to_ternary(x)
    return np.concatenate([_join_digits(q, TQ1_0_RUNS), _bytes(d)], axis=1)


def quantize_tq2_0(x: F32) -> U8:
    """float32[n, 256] -> uint8[n, 66]; d is the largest magnitude."""
    d, q = _to_ternary(x)
    pairs = q.reshape(-1, 2, 4, 32).swapaxes(2, 3)
    return np.concatenate([_join_pairs(pairs.reshape(len(x), -1, 4)), _bytes(d)], axis=1)


def _scale(two_bytes: U8) -> F32:
    return np.ascontiguousarray(two_bytes).view("<f2").astype(np.float32)


def _bytes(scale: F32) -> U8:
    return to_f16(scale).view(np.uint8)


def _centered(d: U8, q: Bits) -> F32:
    return _scale(d) * (q.astype(np.float32) - 1)


def _to_ternary(x: F32) -> tuple[F32, U8]:
    """The largest magnitude, and x / d rounded to the nearest (ties away from zero) plus one."""
    d = np.abs(x).max(axis=1, keepdims=True)
    scaled = x * inverse(d)
    return d, (np.trunc(2 * scaled).clip(-1, 1) + 1).astype(np.uint8)


def _join_pairs(q: U8) -> U8:
    joined: U8 = np.bitwise_or.reduce(q << TWO_BITS, axis=2)
    return joined


def digits(blocks: U8, runs: tuple[tuple[int, int], ...]) -> U8:
    """uint8[n, n_bytes] -> the base-3 digits of all runs, uint8[n, n_elements]."""
    parts, at = [], 0
    for n_bytes, n_digits in runs:
        run = blocks[:, None, at : at + n_bytes] * POWERS[:n_digits, None]
        parts.append((run.astype(np.uint16) * 3 >> 8).astype(np.uint8).reshape(len(blocks), -1))
        at += n_bytes
    return np.concatenate(parts, axis=1)


def _join_digits(q: U8, runs: tuple[tuple[int, int], ...]) -> U8:
    parts, at = [], 0
    for n_bytes, n_digits in runs:
        run = q[:, at : at + n_bytes * n_digits].reshape(-1, n_digits, n_bytes).astype(np.uint16)
        number = (run * POWERS[4 - np.arange(n_digits), None]).sum(axis=1, dtype=np.uint16)
        parts.append(((number * 256 + 242) // 243).astype(np.uint8))
        at += n_bytes * n_digits
    return np.concatenate(parts, axis=1)
