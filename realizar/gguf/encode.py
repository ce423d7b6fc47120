"""encode: serializes Python and numpy values as GGUF metadata values."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from realizar.errors import ParameterError
from realizar.gguf.cursor import shorten
from realizar.gguf.types import SCALARS, ValueType

# Bools are stored like uint8, but have their own numpy type.
BY_DTYPE: dict[np.dtype[Any], ValueType] = {
    np.dtype(layout): value_type for value_type, layout in SCALARS.items() if value_type != ValueType.BOOL
}
BY_DTYPE[np.dtype(np.bool_)] = ValueType.BOOL

INT32 = np.iinfo(np.int32)
INT64 = np.iinfo(np.int64)


def encode(key: str, value: Any, value_type: ValueType | None = None) -> bytes:
    """Serialize a value with its type, as it follows the key in a file.

    Parameters
    ----------
    key : str
        For error messages.
    value : bool | int | float | str | list | tuple | ndarray
        Lists, tuples and one-dimensional arrays become GGUF arrays.
    value_type : ValueType | None
        Type in the file; for an array, type of its elements. None uses a numpy value's type, else BOOL, STRING,
        FLOAT32, and for integers UINT32 (INT32 in arrays and for negative numbers), or 64 bits if needed.

    Raises
    ------
    ParameterError
        If the value cannot be stored, or is out of the type's range.
    """
    if isinstance(value, str):
        _check(value_type in (None, ValueType.STRING), key, value, value_type)
        return struct.pack("<I", ValueType.STRING) + encode_string(key, value)
    if isinstance(value, (list, tuple)) and (
        value_type == ValueType.STRING or isinstance(next(iter(value), None), str)
    ):
        _check(
            value_type in (None, ValueType.STRING) and all(isinstance(v, str) for v in value),
            key,
            value,
            value_type,
        )
        return _array_start(ValueType.STRING, len(value)) + b"".join(encode_string(key, v) for v in value)
    return _numbers(key, value, value_type)


def encode_string(what: str, text: str) -> bytes:
    """Serialize a string as length and UTF-8 bytes; `what` is for the error about lone surrogates."""
    try:
        data = text.encode()
    except UnicodeEncodeError as e:
        raise ParameterError(f"{shorten(what)}: {shorten(repr(text))} cannot be encoded as UTF-8: {e.reason}") from None
    return struct.pack("<Q", len(data)) + data


def _array(value: Any) -> NDArray[Any]:
    """Return numbers as an array; numpy makes float64 of a list with integers of more than 63 bits."""
    array = np.asarray(value)
    if array.dtype.kind == "f" and isinstance(value, list) and all(type(n) is int and 0 <= n < 2**64 for n in value):
        return np.array(value, np.uint64)
    return array


def _numbers(key: str, value: Any, value_type: ValueType | None) -> bytes:
    try:
        array = _array(value)
    except ValueError:
        raise ParameterError(f"{key}: the value is a ragged list, but only flat arrays can be stored") from None
    _check(array.ndim <= 1 and array.dtype.kind in "biuf", key, value, value_type)
    if value_type is None:
        _check(array.size > 0, key, value, value_type)
        is_numpy = isinstance(value, (np.ndarray, np.generic))
        value_type = BY_DTYPE[array.dtype] if is_numpy and array.dtype in BY_DTYPE else _default_type(array)
    _check(value_type in SCALARS and _fits(array, value_type), key, value, value_type)
    data = array.astype(SCALARS[value_type]).tobytes()
    if array.ndim == 0:
        return struct.pack("<I", value_type) + data
    return _array_start(value_type, array.size) + data


def _array_start(element: ValueType, n: int) -> bytes:
    return struct.pack("<IIQ", ValueType.ARRAY, element, n)


def _default_type(array: NDArray[Any]) -> ValueType:
    """Return the default type of Python values."""
    if array.dtype.kind == "b":
        return ValueType.BOOL
    if array.dtype.kind == "f":
        return ValueType.FLOAT32
    low, high = int(array.min()), int(array.max())
    if array.ndim == 0 and 0 <= low < 2**32:
        return ValueType.UINT32
    if low >= INT32.min and high <= INT32.max:
        return ValueType.INT32
    return ValueType.INT64 if high <= INT64.max else ValueType.UINT64


def _fits(array: NDArray[Any], value_type: ValueType) -> bool:
    """Whether all values are representable, except for floating-point rounding."""
    if value_type == ValueType.BOOL:
        return array.dtype.kind == "b"
    target = np.dtype(SCALARS[value_type])
    if array.dtype.kind == "b":
        return False
    if target.kind == "f":
        with np.errstate(over="ignore"):
            return bool((np.isfinite(array.astype(target)) == np.isfinite(array)).all())
    limits = np.iinfo(target)
    is_integer = array.dtype.kind in "iu"
    return array.size == 0 or (is_integer and int(array.min()) >= limits.min and int(array.max()) <= limits.max)


def _check(ok: bool, key: str, value: object, value_type: ValueType | None) -> None:
    if not ok:
        as_type = "without an explicit type" if value_type is None else f"as {ValueType(value_type).name}"
        raise ParameterError(f"{key}: {shorten(repr(value))} cannot be stored {as_type}")
