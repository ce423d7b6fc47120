"""Reader of safetensors files with numpy; tensors are memory-mapped.

Format: https://github.com/huggingface/safetensors#format. We do not use the safetensors package because its numpy
interface lacks bfloat16, the type of nearly all checkpoints.
"""

from __future__ import annotations

import json
import math
import mmap
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from realizar.errors import GGUFError
from realizar.quants import dequantize

MAX_HEADER = 100 << 20  # the format's own limit
NUMPY_DTYPES = {
    "F64": "<f8", "F32": "<f4", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "|i1", "U64": "<u8", "U32": "<u4",
    "U16": "<u2", "U8": "|u1", "BOOL": "|u1",
}  # fmt: skip
FLOAT16_TYPES = ("F16", "BF16")
FLOAT8_TYPES = ("F8_E4M3", "F8_E5M2", "F8_E8M0")
FLOATS = ("F64", "F32", *FLOAT16_TYPES)
"""Types of unquantized weights."""


@dataclass(frozen=True)
class StoredTensor:
    """A tensor in a safetensors file: type name, shape and bytes."""

    type: str
    shape: tuple[int, ...]
    data: memoryview

    def floats(self) -> npt.NDArray[np.float32]:
        """Return the values as float32 [*shape]."""
        if self.type in FLOAT16_TYPES:
            return dequantize(np.frombuffer(self.data, np.uint8), self.type).reshape(self.shape)
        if self.type in FLOAT8_TYPES:
            return float8_values(self.type)[np.frombuffer(self.data, np.uint8)].reshape(self.shape)
        array: npt.NDArray[Any] = np.frombuffer(self.data, NUMPY_DTYPES[self.type]).reshape(self.shape)
        return array.astype(np.float32)


@cache
def float8_values(type: str) -> npt.NDArray[np.float32]:
    """Return the values of all 256 codes of an 8-bit float type, float32 [256].

    E4M3 and E5M2 of https://arxiv.org/abs/2209.05433: E4M3 has no infinities, and NaN is the code with all bits but the
    sign set; E5M2 is the upper half of a float16. E8M0 of the OCP microscaling formats is a power of two.
    """
    codes = np.arange(256, dtype=np.uint16)
    if type == "F8_E5M2":
        return (codes << 8).view(np.float16).astype(np.float32)
    if type == "F8_E8M0":
        return np.where(codes == 255, np.nan, np.ldexp(1.0, codes.astype(np.int32) - 127)).astype(np.float32)
    exponent, mantissa = (codes >> 3 & 15).astype(np.int32), (codes & 7) / 8
    size = np.where(exponent == 0, np.ldexp(mantissa, -6), np.ldexp(1 + mantissa, exponent - 7))
    size[(codes & 127) == 127] = np.nan
    return np.where(codes & 128, -size, size).astype(np.float32)


def mxfp4(blocks: StoredTensor, scales: StoredTensor) -> npt.NDArray[np.float32]:
    """Dequantize MXFP4 (OCP microscaling), as published for gpt-oss: float32 [..., k].

    Two 4-bit floats per byte, low nibble first; one power-of-two scale per 32 elements.
    """
    positive = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6], np.float32)
    values = np.concatenate([positive, -positive])
    packed = np.frombuffer(blocks.data, np.uint8).reshape(*blocks.shape[:-1], -1, 1)
    numbers = values[np.concatenate([packed & 15, packed >> 4], axis=-1)].reshape(*blocks.shape[:-1], -1)
    exponents = np.frombuffer(scales.data, np.uint8).astype(np.int32).reshape(*scales.shape, 1) - 127
    out: npt.NDArray[np.float32] = np.ldexp(numbers, exponents).reshape(*scales.shape[:-1], -1)
    return out


def read(path: Path) -> dict[str, StoredTensor]:
    """Return the tensors of one file by name.

    Raises
    ------
    GGUFError
        If the file is damaged, or has a tensor of an unsupported type.
    """
    with open(path, "rb") as file:
        size = file.seek(0, 2)
        if size < 8:
            raise GGUFError(f"{path}: {size} bytes are too short for a safetensors file; the download may have failed")
        view = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    n = int.from_bytes(view[:8], "little")
    if n > min(MAX_HEADER, size - 8):
        raise GGUFError(f"{path}: its header needs {n} bytes, but the file has {size}; the download may be incomplete")
    try:
        header = json.loads(bytes(view[8 : 8 + n]))
        rows = {name: row for name, row in header.items() if name != "__metadata__"}
        return {name: _stored_tensor(path, name, row, view[8 + n :]) for name, row in rows.items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise GGUFError(f"{path}: its header is not valid safetensors: {error}") from error


def _stored_tensor(path: Path, name: str, row: dict[str, Any], body: memoryview) -> StoredTensor:
    shape, (begin, end) = tuple(row["shape"]), row["data_offsets"]
    if row["dtype"] not in (*NUMPY_DTYPES, *FLOAT16_TYPES, *FLOAT8_TYPES):
        raise GGUFError(f"{path}: {name} is of type {row['dtype']}; a checkpoint in F32, F16 or BF16 is needed")
    width = (
        2
        if row["dtype"] in FLOAT16_TYPES
        else 1
        if row["dtype"] in FLOAT8_TYPES
        else np.dtype(NUMPY_DTYPES[row["dtype"]]).itemsize
    )
    if not 0 <= begin <= end <= len(body) or end - begin != math.prod(shape) * width:
        raise GGUFError(
            f"{path}: {name} of shape {shape} does not match its data offsets; the file is truncated or damaged"
        )
    return StoredTensor(row["dtype"], shape, body[begin:end])
