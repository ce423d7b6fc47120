"""parse_header: parses metadata and tensor infos of a GGUF file.

Layout (GGUF specification, versions 2 and 3, little-endian): magic, version, number of tensors, number of metadata
values; the metadata; names, shapes, types and offsets of the tensors; padding; tensor data. Every size and offset from
the file is checked against the file size before it is used.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass, replace
from itertools import pairwise

from realizar.gguf import other_types
from realizar.gguf.cursor import Cursor, shorten
from realizar.gguf.metadata import Field, Metadata
from realizar.gguf.types import SCALARS, GGMLType, TensorInfo, ValueType

MAGIC = b"GGUF"
VERSIONS = (2, 3)
ALIGNMENT_KEY = "general.alignment"
DEFAULT_ALIGNMENT = 32
MAX_DIMS = 4

# Minimum bytes of a metadata value (length of an empty key, type, one byte) and of a tensor info (length of an empty
# name, number of dimensions, one dimension, type, offset).
SMALLEST_VALUE = 8 + 4 + 1
SMALLEST_TENSOR = 8 + 4 + 8 + 4 + 8

STRUCTS = {value_type: struct.Struct(layout) for value_type, layout in SCALARS.items()}

# First bytes of files that are opened by mistake.
LOOKALIKES = {
    b"vers": "a Git LFS pointer: fetch the file itself with `git lfs pull`",
    b"lmgg": "an old GGML file: convert the original model with a current converter",
    b"fmgg": "an old GGMF file: convert the original model with a current converter",
    b"tjgg": "an old GGJT file: convert the original model with a current converter",
    b"<!DO": "a web page: the download went to the wrong address",
    b"<htm": "a web page: the download went to the wrong address",
    b"PK\x03\x04": "a ZIP archive: unpack it first",
}


@dataclass(frozen=True)
class Header:
    """Everything before the tensor data.

    Attributes
    ----------
    version : int
        2 or 3.
    metadata : Metadata
        Metadata keys and values.
    tensors : dict[str, TensorInfo]
        In file order; offsets are relative to the start of the file.
    """

    version: int
    metadata: Metadata
    tensors: dict[str, TensorInfo]


def parse_header(buffer: memoryview, where: str, part: int = 0) -> Header:
    """Parse and validate everything except the tensor data.

    Parameters
    ----------
    buffer : memoryview
        The bytes of the whole file.
    where : str
        File name for error messages.
    part : int
        Index of the part in a split model, stored in each TensorInfo.

    Raises
    ------
    GGUFError
        If the file is invalid.
    """
    cursor = Cursor(buffer, where)
    version = _version(cursor)
    n_tensors = cursor.count(SMALLEST_TENSOR, "number of tensors")
    n_values = cursor.count(SMALLEST_VALUE, "number of metadata values")
    fields: dict[str, Field] = {}
    for i in range(n_values):
        key = cursor.string(f"key of metadata value {i}")
        if key in fields:
            cursor.fail(key, "occurs twice in the metadata")
        at = cursor.at
        fields[key] = replace(_field(cursor, key), at=at, end=cursor.at)
    tensors: dict[str, TensorInfo] = {}
    for i in range(n_tensors):
        name = cursor.string(f"name of tensor {i}")
        if name in tensors:
            cursor.fail(name, "two tensors have this name")
        tensors[name] = _tensor(cursor, name, part)
    placed = _with_file_offsets(cursor, tensors, _alignment(cursor, fields))
    return Header(version, Metadata(fields, buffer, where), placed)


def _version(cursor: Cursor) -> int:
    magic = bytes(cursor.buffer[: len(MAGIC)])
    if magic != MAGIC:
        guess = LOOKALIKES.get(magic)
        hint = f"; this looks like {guess}" if guess else ""
        cursor.fail("not a GGUF file", f"it starts with {magic!r} instead of {MAGIC!r}{hint}")
    cursor.skip(len(MAGIC), "magic")
    version = cursor.u32("version")
    if version and version & 0xFFFF == 0:
        cursor.fail(
            "big-endian GGUF", "only little-endian files are supported; convert it, or download the little-endian file"
        )
    if version not in VERSIONS:
        cursor.fail(f"GGUF version {version}", "only versions 2 and 3 are supported; convert the original model again")
    return version


def _value_type(cursor: Cursor, what: str) -> ValueType:
    number = cursor.u32(f"type of {what}")
    try:
        return ValueType(number)
    except ValueError:
        cursor.fail(what, f"its value type is {number}, but valid types are 0 to {max(ValueType):d}")


def _field(cursor: Cursor, key: str) -> Field:
    value_type = _value_type(cursor, key)
    if value_type == ValueType.STRING:
        return Field(value_type, cursor.text(key))
    if value_type == ValueType.ARRAY:
        return _array(cursor, key)
    value = cursor.scalar(STRUCTS[value_type], key)
    if value_type != ValueType.BOOL:
        return Field(value_type, value)
    if value not in (0, 1):
        cursor.fail(key, f"is a bool with value {value}, but must be 0 or 1")
    return Field(value_type, bool(value))


def _array(cursor: Cursor, key: str) -> Field:
    element = _value_type(cursor, f"elements of {key}")
    if element == ValueType.ARRAY:
        cursor.fail(key, "is an array of arrays, which is not supported")
    if element == ValueType.STRING:
        n = cursor.count(8, f"length of {key}")
        start = cursor.skip_strings(n, key)
    else:
        size = STRUCTS[element].size
        n = cursor.count(size, f"length of {key}")
        start = cursor.skip(n * size, key)
    return Field(ValueType.ARRAY, None, element, n, start)


def _tensor(cursor: Cursor, name: str, part: int) -> TensorInfo:
    n_dims = cursor.u32(f"{name}: number of dimensions")
    if not 1 <= n_dims <= MAX_DIMS:
        cursor.fail(name, f"has {n_dims} dimensions, but 1 to {MAX_DIMS} are supported")
    shape = tuple(cursor.u64(f"{name}: dimension {i}") for i in range(n_dims))[::-1]
    number = cursor.u32(f"{name}: type")
    try:
        ggml_type = GGMLType(number)
    except ValueError:
        cursor.fail(name, other_types.explain(number))
    offset = cursor.u64(f"{name}: offset")
    if 0 in shape:
        cursor.fail(name, f"its shape is {shape}, which has no elements")
    if shape[-1] % ggml_type.n_elements:
        cursor.fail(
            name,
            f"its row length {shape[-1]} is not a multiple of {ggml_type.n_elements}, the block of {ggml_type.name}",
        )
    n_bytes = math.prod(shape[:-1]) * ggml_type.row_bytes(shape[-1])
    return TensorInfo(name, shape, ggml_type, offset, n_bytes, part)


def _alignment(cursor: Cursor, fields: dict[str, Field]) -> int:
    field = fields.get(ALIGNMENT_KEY)
    if field is None:
        return DEFAULT_ALIGNMENT
    value = field.value
    if field.type != ValueType.UINT32 or not isinstance(value, int) or value < 8 or value & (value - 1):
        cursor.fail(ALIGNMENT_KEY, f"is {field.type.name} {value}, but must be a UINT32 power of two of 8 or more")
    return value


def _with_file_offsets(cursor: Cursor, tensors: dict[str, TensorInfo], alignment: int) -> dict[str, TensorInfo]:
    """Make offsets relative to the start of the file; raises if a tensor is misaligned, outside, or overlaps."""
    data_start = -(-cursor.at // alignment) * alignment
    size = len(cursor.buffer)
    placed: dict[str, TensorInfo] = {}
    for info in tensors.values():
        if info.offset % alignment:
            cursor.fail(info.name, f"its offset {info.offset} is not a multiple of the alignment {alignment}")
        start = data_start + info.offset
        if start + info.n_bytes > size:
            _check_old_q2_0(cursor, info, size - start, alignment)
            cursor.fail(
                info.name,
                f"needs {info.n_bytes} bytes at offset {start}, but the file ends at {size}; "
                "the download may be incomplete",
            )
        placed[info.name] = replace(info, offset=start)
    by_offset = sorted(placed.values(), key=lambda info: info.offset)
    for before, after in pairwise(by_offset):
        if before.offset + before.n_bytes > after.offset:
            _check_old_q2_0(cursor, before, after.offset - before.offset, alignment)
            cursor.fail(after.name, f"overlaps {shorten(before.name)} in the file")
    return placed


def _check_old_q2_0(cursor: Cursor, info: TensorInfo, n_bytes: int, alignment: int) -> None:
    """Raise if the room of a tensor is that of the type which had Q2_0's number in PrismML's fork before it was PQ2_0.

    Its blocks have 34 bytes for 128 elements, so that all tensors are a little smaller.
    """
    old = GGMLType.PQ2_0
    if info.type != GGMLType.Q2_0 or info.shape[-1] % old.n_elements:
        return
    needed = math.prod(info.shape[:-1]) * old.row_bytes(info.shape[-1])
    if needed <= n_bytes < min(needed + alignment, info.n_bytes):
        cursor.fail(
            info.name,
            f"its type {GGMLType.Q2_0:d} is Q2_0, but it has {n_bytes} bytes instead of {info.n_bytes}, as if its "
            f"blocks had {old.n_elements} elements: an old file of PrismML's fork, which now calls that type "
            f"{old.name} ({old:d}); download the current file",
        )
