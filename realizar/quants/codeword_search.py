"""Nearest codewords and scales of the IQ formats: a plain search, good enough for tests and random models."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from realizar.quants.blocks32 import inverse, to_f16

F32 = NDArray[np.float32]
Indices = NDArray[np.intp]

# Trial scales of a group, in units of the one with which the greatest element of the codebook meets that of the group.
STEPS = (0.6, 0.7, 0.85, 1.0)
# Products of vectors and codewords at a time: they stay in the CPU cache, and BLAS does not start threads for so few.
PRODUCTS = 1 << 15


def nearest(x: F32, book: F32) -> Indices:
    """Return the index of the codeword with the smallest squared distance.

    Parameters
    ----------
    x : float32[..., n]
    book : float32[n_codewords, n]

    Returns
    -------
    intp[...]
    """
    vectors = x.reshape(-1, book.shape[1])
    half = np.square(book).sum(axis=1) / 2  # |x - b|^2 = |x|^2 - 2 (x . b - |b|^2 / 2)
    found = np.empty(len(vectors), np.intp)
    step = PRODUCTS // len(book)
    for start in range(0, len(vectors), step):
        found[start : start + step] = (vectors[start : start + step] @ book.T - half).argmax(axis=1)
    shape: tuple[int, ...] = x.shape[:-1]
    return found.reshape(shape)


def fit_scales(x: F32, book: F32) -> F32:
    """Return the scale of each group of vectors with which the codewords fit best.

    Parameters
    ----------
    x : float32[n, groups, vectors, elements]
    book : float32[n_codewords, elements]

    Returns
    -------
    float32[n, groups]
        At least 0.
    """
    whole = np.abs(x).max(axis=(2, 3)) / book.max()
    best = np.zeros_like(whole)
    best_gain = np.full_like(whole, -1)
    for step in STEPS:
        over = inverse(whole * np.float32(step))
        word = book[nearest(x * over[..., None, None], book)]
        product = (x * word).sum(axis=(2, 3))
        scale = product * inverse(np.square(word).sum(axis=(2, 3)))
        gain = scale * product
        better = gain > best_gain
        np.copyto(best, scale, where=better)
        np.copyto(best_gain, gain, where=better)
    at_least_0: F32 = np.maximum(best, 0)
    return at_least_0


def round_scales(scales: F32, factor: float, n_levels: int) -> tuple[NDArray[np.float16], NDArray[np.uint8], F32]:
    """Round the scales of a block to d * factor * (2 s + 1) with integers 0 <= s < n_levels.

    Parameters
    ----------
    scales : float32[n, groups]
        At least 0.

    Returns
    -------
    tuple
        d float16[n]; s uint8[n, groups]; the rounded scales float32[n, groups].
    """
    d = to_f16(scales.max(axis=1) / np.float32((2 * n_levels - 1) * factor))
    unit = d.astype(np.float32)[:, None] * np.float32(factor)
    s = np.clip(np.rint((scales * inverse(unit) - 1) / 2), 0, n_levels - 1)
    return d, s.astype(np.uint8), unit * (2 * s + 1).astype(np.float32)


def make_even(x: F32) -> tuple[F32, NDArray[np.uint8]]:
    """Split vectors of eight into magnitudes and sign bits of which an even number is set.

    Where it is odd, the smallest element gets the other sign; its magnitude is then negative.

    Parameters
    ----------
    x : float32[..., 8]

    Returns
    -------
    tuple
        float32[..., 8] and uint8[...].
    """
    negative = x < 0
    odd = negative.sum(axis=-1) % 2 == 1
    least = np.abs(x).argmin(axis=-1)[..., None] == np.arange(8)
    flipped = negative ^ (odd[..., None] & least)
    return np.where(flipped, -x, x), np.packbits(flipped, axis=-1, bitorder="little")[..., 0]
