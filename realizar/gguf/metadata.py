"""Metadata: keys and values of a GGUF file, with typed access and lazily decoded arrays."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from realizar.errors import GGUFError
from realizar.gguf.cursor import U64, shorten
from realizar.gguf.types import SCALARS, ValueType

Array: TypeAlias = "list[str] | NDArray[Any]"
T = TypeVar("T")


@dataclass(frozen=True)
class Field:
    """One value as stored in the file.

    Attributes
    ----------
    type : ValueType
        Type of the value.
    value : bool | int | float | str | None
        None for an array, whose elements are decoded on first access.
    element : ValueType | None
        Type of an array's elements.
    n : int
        Number of elements of an array; 1 for other values.
    start : int
        Offset of an array's elements in the file.
    at, end : int
        Byte range of the value in the file, with its type.
    """

    type: ValueType
    value: bool | int | float | str | None
    element: ValueType | None = None
    n: int = 1
    start: int = 0
    at: int = 0
    end: int = 0


class Metadata(Mapping[str, Any]):
    """Keys and values in file order.

    `metadata[key]` is a bool, int, float or str; for an array a list of str, or a read-only numpy array of the type in
    the file. Arrays are decoded on first access and cached. Invalid UTF-8 bytes in strings are escaped as "\\xff".

    Parameters
    ----------
    fields : dict[str, Field]
        The parsed values.
    buffer : memoryview
        The whole file, from which arrays are decoded.
    where : str
        File name for error messages.
    """

    def __init__(self, fields: dict[str, Field], buffer: memoryview, where: str) -> None:
        self._fields = fields
        self._buffer: memoryview | None = buffer
        self._where = where
        self._arrays: dict[str, Array] = {}

    def __getitem__(self, key: str) -> Any:
        field = self._fields[key]
        if field.value is not None:
            return field.value
        if key not in self._arrays:
            self._arrays[key] = self._decode(key, field)
        return self._arrays[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._fields)

    def __len__(self) -> int:
        return len(self._fields)

    def __contains__(self, key: object) -> bool:
        return key in self._fields

    def __repr__(self) -> str:
        return f"<Metadata of {self._where}: {len(self)} keys>"

    def field(self, key: str) -> Field:
        """Return the type and size of a value without decoding it; raises KeyError if it is missing."""
        return self._fields[key]

    def encoded(self, key: str) -> bytes:
        """Return a value as it is in the file, with its type; raises KeyError if it is missing."""
        if self._buffer is None:
            raise GGUFError(f"{self._where}: {key}: the file is closed")
        return bytes(self._buffer[self._fields[key].at : self._fields[key].end])

    def get_int(self, key: str, default: int | None = None) -> int:
        """Return an integer, or the default; raises GGUFError if it is missing without default, or has another type."""
        return self._typed(key, default, int, "an integer")

    def get_float(self, key: str, default: float | None = None) -> float:
        """Return a float or integer as float; otherwise like `get_int`."""
        return float(self._typed(key, default, (float, int), "a number"))

    def get_bool(self, key: str, default: bool | None = None) -> bool:
        """Return a bool; otherwise like `get_int`."""
        return self._typed(key, default, bool, "a bool")

    def get_str(self, key: str, default: str | None = None) -> str:
        """Return a string; otherwise like `get_int`."""
        return self._typed(key, default, str, "a string")

    def get_strs(self, key: str, default: list[str] | None = None) -> list[str]:
        """Return an array of strings; otherwise like `get_int`."""
        return self._typed(key, default, list, "an array of strings")

    def get_array(self, key: str, n: int | None = None, default: NDArray[Any] | None = None) -> NDArray[Any]:
        """Return an array of numbers.

        Parameters
        ----------
        key : str
            Metadata key.
        n : int | None
            Required length. A single number is then repeated n times, for values that may differ between layers
            ("llama.attention.head_count_kv").
        default : ndarray | None
            Returned if the key is missing.

        Returns
        -------
        ndarray[n]
            Read-only, of the type in the file (int64 or float64 for a single number).

        Raises
        ------
        GGUFError
            If the key is missing without a default, does not contain numbers, or not n of them.
        """
        wanted = "an array of numbers" if n is None else f"an array of {n} numbers, or one for all"
        if n is not None and isinstance(self.get(key), (int, float)):
            return np.broadcast_to(np.asarray(self[key]), (n,))
        array = self._typed(key, default, np.ndarray, wanted)
        if n is not None and len(array) != n:
            raise GGUFError(f"{self._where}: {key}: must be {wanted}, but it has {len(array)}")
        return array

    def release(self) -> None:
        """Release the file; arrays that are not decoded yet become inaccessible."""
        self._buffer = None

    def _typed(self, key: str, default: T | None, kinds: type[Any] | tuple[type[Any], ...], wanted: str) -> T:
        if key not in self._fields:
            if default is None:
                raise GGUFError(f"{self._where}: {key}: missing in the metadata; must be {wanted}")
            return default
        value: Any = self[key]
        is_unwanted_bool = isinstance(value, bool) and kinds is not bool  # bool is a subclass of int
        if not isinstance(value, kinds) or is_unwanted_bool:
            raise GGUFError(f"{self._where}: {key}: is {describe(self._fields[key])}, but must be {wanted}")
        return value  # type: ignore[no-any-return]

    def _decode(self, key: str, field: Field) -> Array:
        if self._buffer is None:
            raise GGUFError(f"{self._where}: {key}: the file is closed, and this array was not decoded before")
        where = f"{self._where}: {key}"
        # Copied because the data may be unaligned, and a view would keep the file mapped.
        data = bytes(self._buffer[field.start : field.end])
        if field.element in SCALARS:
            return _decode_numbers(data, field.element, where)
        return _decode_strings(data, field.n, where)


def describe(field: Field) -> str:
    """Describe a value for an error message: "INT32 5", "an array of 32 STRING"."""
    if field.element is not None:
        return f"an array of {field.n} {field.element.name}"
    return f"{field.type.name} {shorten(repr(field.value))}"


def _decode_strings(data: bytes, n: int, where: str) -> list[str]:
    strings: list[str] = []
    at, read = 0, U64.unpack_from
    try:
        for _ in range(n):
            start = at + 8
            at = start + read(data, at)[0]
            strings.append(data[start:at].decode("utf-8", "backslashreplace"))
    except struct.error:
        raise GGUFError(f"{where}: the file has changed since it was opened") from None
    return strings


def _decode_numbers(data: bytes, element: ValueType, where: str) -> NDArray[Any]:
    array = np.frombuffer(data, SCALARS[element])
    if element == ValueType.BOOL:
        if (array > 1).any():
            raise GGUFError(f"{where}: a bool has a value other than 0 or 1")
        array = array.view(np.bool_)
    return array
