"""Forms: how each format of weights lies in device memory, without loss, and the WGSL that reads it.

The file on disk stays as it is. Formats with a scale for 16 or 32 elements become planes of codes (form_blocks.wgsl); a
format costs one function that unpacks its codes and scales (blocks.py, words.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from realizar._kernels import repack
from realizar.backends.wgpu import blocks, words
from realizar.backends.wgpu.kernels import Constant
from realizar.backends.wgpu.planes import U8, U32, Planes, Unpack
from realizar.quants import FORMATS, dequantize


@dataclass(frozen=True)
class Form:
    """A layout of weights in device memory.

    Attributes
    ----------
    part : str
        The file in shaders/ with the function `four`, which reads four consecutive elements.
    constants : dict
        Of that file.
    """

    part: str
    constants: Mapping[str, Constant]


UNPACK: dict[str, Unpack] = {**blocks.UNPACK, **words.UNPACK}
"""Formats whose codes are kept, by name."""
HALVES = {"F16": "form_f16", "BF16": "form_bf16"}


def form_of(type_name: str) -> Form:
    """Return the form of a format."""
    if type_name not in UNPACK:
        return Form(HALVES.get(type_name, "form_f32"), {})
    row = UNPACK[type_name]
    constants: dict[str, Constant] = {
        "BITS": row.bits, "HAS_PLANES": row.bits > 0, "HAS_WORDS": row.bits == 0, "HAS_HIGH": row.has_high,
        "HAS_NO_HIGH": not row.has_high, "HAS_BOOK": row.book is not None, "HAS_LEVELS": bool(row.levels),
        "HAS_CODES": not row.levels,
        "HALVES": row.group == 16, "SCALE_OF": row.scale_of, "WORD_OF": row.word_of, "LEVELS": _levels(row.levels),
    }  # fmt: skip
    return Form("form_blocks", constants)


def _levels(values: tuple[int, ...]) -> str:
    """Return WGSL of the values of sixteen codes, a byte each."""
    return ", ".join(f"{word}u" for word in np.array(values, np.int8).view(np.uint32))


def book_of(type_name: str) -> U32 | None:
    """Return the values of a format's codewords, which all its weights share."""
    return UNPACK[type_name].book if type_name in UNPACK else None


def packed(data: U8, type_name: str) -> Planes:
    """Return rows of a file, uint8 [n_rows, row_bytes], in their form: arrays by the name of the binding.

    Rows of floats are padded to a multiple of four elements, those of other planes to whole words.
    """
    if type_name in repack.FORMATS:
        return repack.repack(data, type_name)  # in C, which takes a small part of the time
    if type_name in UNPACK:
        return packed_by_numpy(data, type_name)
    rows = data.view(np.uint16) if type_name in HALVES else dequantize(data, type_name)
    padding = -rows.shape[1] % 4
    return {"w": np.pad(rows, ((0, 0), (0, padding))) if padding else rows}


def packed_by_numpy(data: U8, type_name: str) -> Planes:
    """Return rows of a format in UNPACK, in its form: the definition of what the functions in C return."""
    row = UNPACK[type_name]
    planes = row.planes(np.ascontiguousarray(data).reshape(-1, FORMATS[type_name].n_bytes))
    if row.base:
        planes["w"] = words.digits_in_words(planes["w"].reshape(len(data), -1))
    return {name: _in_words(plane, len(data)) for name, plane in planes.items()}


def _in_words(plane: npt.NDArray[Any], n_rows: int) -> U8:
    """Return a plane as bytes, each row padded to whole words."""
    rows = np.ascontiguousarray(plane).view(np.uint8).reshape(n_rows, -1)
    padding = -rows.shape[1] % 4
    return np.pad(rows, ((0, 0), (0, padding))) if padding else rows


@cache
def row_bytes(type_name: str, k: int) -> int:
    """Return the bytes of the largest array of a row of k elements in its form."""
    return max(plane.nbytes for plane in packed(_zeros(type_name, k), type_name).values())


def _zeros(type_name: str, k: int) -> U8:
    """Return a row of k elements in a file."""
    found = FORMATS[type_name]
    return np.zeros((1, k // found.n_elements * found.n_bytes), np.uint8)
