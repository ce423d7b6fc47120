"""Quantization to the IQ formats, for tests and random models: nearest codewords, without importances."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from realizar.quants import iquants
from realizar.quants.blocks32 import inverse, to_f16
from realizar.quants.codeword_search import fit_scales, make_even, nearest, round_scales
from realizar.quants.iquants import BITS, GRID, IQ4_VALUES, NIBBLES, SEVENS, THREES

U8 = NDArray[np.uint8]
F32 = NDArray[np.float32]
Ints = NDArray[np.integer[Any]]

MIDDLES = (IQ4_VALUES[1:] + IQ4_VALUES[:-1]) / 2
IQ4_STEPS = (-7, -4, -2, 0, 3, 7)  # trial scales: the extreme element is at -127 plus a step


def quantize_iq4_nl(x: F32) -> U8:
    """float32[n, 32] -> uint8[n, 18]."""
    out = np.empty(len(x), iquants.IQ4_NL)
    out["d"] = to_f16(_fit_iq4(x))
    out["qs"] = _join_nibbles(np.searchsorted(MIDDLES, x * inverse(out["d"].astype(np.float32))[:, None]))
    return _bytes(out)


def quantize_iq4_xs(x: F32) -> U8:
    """float32[n, 256] -> uint8[n, 136]; the scale of greatest magnitude becomes -32."""
    x = x.reshape(-1, 8, 32)
    scales = _fit_iq4(x)
    extreme = np.take_along_axis(scales, np.abs(scales).argmax(axis=1, keepdims=True), axis=1)[:, 0]
    out = np.empty(len(x), iquants.IQ4_XS)
    out["d"] = to_f16(extreme / np.float32(-32))
    d = out["d"].astype(np.float32)[:, None]
    s = np.clip(np.rint(scales * inverse(d)), -32, 31)
    code = (s + 32).astype(np.uint8)
    out["qs"] = _join_nibbles(np.searchsorted(MIDDLES, x * inverse(d * s)[:, :, None])).reshape(-1, 128)
    out["scales_l"] = _join(code & 15, NIBBLES)
    out["scales_h"] = _join((code >> 4).astype(np.uint16), (2 * BITS).astype(np.uint16))[:, 0]
    return _bytes(out)


def quantize_iq3_xxs(x: F32) -> U8:
    """float32[n, 256] -> uint8[n, 98]."""
    x, signs = make_even(x.reshape(-1, 8, 4, 8))
    out, s, index = _quantize(x.reshape(-1, 8, 8, 4), "IQ3_XXS", iquants.IQ3_XXS, 0.25, 16)
    out["qs"], out["signs"] = index.reshape(-1, 64), _join_signs(signs, s)
    return _bytes(out)


def quantize_iq3_s(x: F32) -> U8:
    """float32[n, 256] -> uint8[n, 110]."""
    out, s, index = _quantize(np.abs(x).reshape(-1, 8, 8, 4), "IQ3_S", iquants.IQ3_S, 1.0, 16)
    out["qs"], out["qh"] = index.reshape(-1, 64) & 255, _join(index >> 8, BITS)
    out["signs"], out["scales"] = np.packbits(x < 0, axis=1, bitorder="little"), _join(s, NIBBLES)
    return _bytes(out)


def quantize_iq2_xxs(x: F32) -> U8:
    """float32[n, 256] -> uint8[n, 66]."""
    x, signs = make_even(x.reshape(-1, 8, 4, 8))
    out, s, index = _quantize(x, "IQ2_XXS", iquants.IQ2_XXS, 0.125, 16)
    out["qs"][:, :, 0] = index.astype(np.uint8).view("<u4")[:, :, 0]
    out["qs"][:, :, 1] = _join_signs(signs, s)
    return _bytes(out)


def quantize_iq2_xs(x: F32) -> U8:
    """float32[n, 256] -> uint8[n, 74]."""
    x, signs = make_even(x.reshape(-1, 16, 2, 8))
    out, s, index = _quantize(x, "IQ2_XS", iquants.IQ2_XS, 0.125, 16)
    out["qs"], out["scales"] = (index | (signs & 127).astype(np.intp) << 9).reshape(-1, 32), _join(s, NIBBLES)
    return _bytes(out)


def quantize_iq2_s(x: F32) -> U8:
    """float32[n, 256] -> uint8[n, 82]."""
    out, s, index = _quantize(np.abs(x).reshape(-1, 16, 2, 8), "IQ2_S", iquants.IQ2_S, 0.125, 16)
    index = index.reshape(-1, 32)
    out["qs"], out["qh"] = index & 255, _join(index >> 8, 2 * BITS[:4])
    out["signs"], out["scales"] = np.packbits(x < 0, axis=1, bitorder="little"), _join(s, NIBBLES)
    return _bytes(out)


def quantize_iq1_s(x: F32) -> U8:
    """float32[n, 256] -> uint8[n, 50]; a group of 32 takes the delta with the smaller error."""
    x = x.reshape(-1, 8, 4, 8)
    books = [8 * GRID["IQ1_S"] + delta for delta in (1, -1)]
    d, s, scales = round_scales(fit_scales(x, books[0]), 0.125, 8)
    steps = x * inverse(scales)[:, :, None, None]
    found = np.stack([nearest(steps, book) for book in books])
    errors = [np.square(book[index] - steps).sum(axis=(2, 3)) for book, index in zip(books, found, strict=True)]
    delta = (errors[1] < errors[0]).astype(np.intp)
    index = np.where(delta[:, :, None] == 1, found[1], found[0])
    out = np.empty(len(x), iquants.IQ1_S)
    out["d"], out["qs"] = d, index.reshape(-1, 32) & 255
    out["qh"] = _join(index >> 8, THREES) | s.astype(np.intp) << 12 | delta << 15
    return _bytes(out)


def quantize_iq1_m(x: F32) -> U8:
    """float32[n, 256] -> uint8[n, 56]."""
    x = x.reshape(-1, 16, 2, 8)
    book = np.concatenate([8 * GRID["IQ1_S"] + 1, 8 * GRID["IQ1_S"] - 1])  # the twelfth bit: the sign of the delta
    d, s, scales = round_scales(fit_scales(x, book), 0.125, 8)
    index = nearest(x * inverse(scales)[:, :, None, None], book).reshape(-1, 32)
    out = np.empty(len(x), iquants.IQ1_M)
    nibbles = d.view(np.uint16)[:, None] >> 4 * np.arange(4, dtype=np.uint16) & 15
    out["qs"], out["qh"] = index & 255, _join(index >> 8, NIBBLES)
    out["scales"] = _join(s.astype(np.uint16), THREES) | nibbles << 12
    return _bytes(out)


def _quantize(
    x: F32, name: str, layout: np.dtype[np.void], factor: float, n_levels: int
) -> tuple[NDArray[np.void], U8, Ints]:
    """Return blocks with d set, the integer scales of x[n, group, vector, element], and the codewords."""
    d, s, scales = round_scales(fit_scales(x, GRID[name]), factor, n_levels)
    out = np.empty(len(x), layout)
    out["d"] = d
    return out, s, nearest(x * inverse(scales)[:, :, None, None], GRID[name])


def _fit_iq4(x: F32) -> F32:
    """Return the scale of each group of the last axis, of either sign, by least squares over trial scales."""
    extreme = np.take_along_axis(x, np.abs(x).argmax(axis=-1)[..., None], axis=-1)
    best, best_gain = np.zeros(x.shape[:-1], np.float32), np.full(x.shape[:-1], -1, np.float32)
    for step in IQ4_STEPS:
        q = IQ4_VALUES[np.searchsorted(MIDDLES, x * (np.float32(step - 127) * inverse(extreme)))]
        scale = (x * q).sum(axis=-1) * inverse(np.square(q).sum(axis=-1))
        gain = scale * (x * q).sum(axis=-1)
        better = gain > best_gain
        np.copyto(best, scale, where=better)
        np.copyto(best_gain, gain, where=better)
    return best


def _join_signs(signs: U8, s: U8) -> Ints:
    """Seven bits for each of four vectors and the scale of a group, as a dword."""
    words = np.bitwise_or.reduce((signs & 127).astype(np.uint32) << SEVENS, axis=-1)
    joined: Ints = words | s.astype(np.uint32) << 28
    return joined


def _join(codes: Ints, shifts: Ints) -> Ints:
    """Join as many consecutive numbers as there are shifts: [n, m] -> [n, m / shifts]."""
    groups = codes.reshape(len(codes), -1, len(shifts))
    joined: Ints = np.bitwise_or.reduce(groups << shifts, axis=-1)
    return joined


def _join_nibbles(q: Ints) -> Ints:
    """Elements of 32 as sixteen bytes."""
    codes = q.astype(np.uint8)
    return codes[..., :16] | codes[..., 16:] << 4


def _bytes(blocks: NDArray[np.void]) -> U8:
    return blocks[:, None].view(np.uint8)
