"""Metadata: the keys and values of a GGUF file, with typed access and arrays decoded when asked for."""

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
    """One value as the file holds it.

    Attributes
    ----------
    type : ValueType
        Of the value.
    value : bool | int | float | str | None
        None for an array, whose elements stay in the file until they are asked for.
    element : ValueType | None
        Type of an array's elements.
    n : int
        How many elements an array has; 1 for any other value.
    start, end : int
        The bytes of an array's elements in the file.
    """

    type: ValueType
    value: bool | int | float | str | None
    element: ValueType | None = None
    n: int = 1
    start: int = 0
    end: int = 0


class Metadata(Mapping[str, Any]):
    """Keys and values in the file's order.

    `metadata[key]` is a bool, int, float or str; for an array a list of str, or a read-only numpy array
    of the type in the file. An array is decoded when it is first asked for and then kept. Bytes of a string that are
    not UTF-8 are escaped, as in "\\xff".

    Parameters
    ----------
    fields : dict[str, Field]
        As parsed.
    buffer : memoryview
        The whole file, where arrays are read from.
    where : str
        Name of the file, for errors.
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
        """Type and size of a value, without decoding it; KeyError if there is none."""
        return self._fields[key]

    def get_int(self, key: str, default: int | None = None) -> int:
        """The integer under `key`, or the default; GGUFError if there is neither, or it is no integer."""
        return self._typed(key, default, int, "an integer")

    def get_float(self, key: str, default: float | None = None) -> float:
        """The number under `key`, which may be an integer; else as `get_int`."""
        return float(self._typed(key, default, (float, int), "a number"))

    def get_bool(self, key: str, default: bool | None = None) -> bool:
        """The truth value under `key`; else as `get_int`."""
        return self._typed(key, default, bool, "a bool")

    def get_str(self, key: str, default: str | None = None) -> str:
        """The string under `key`; else as `get_int`."""
        return self._typed(key, default, str, "a string")

    def get_strs(self, key: str, default: list[str] | None = None) -> list[str]:
        """The array of strings under `key`; else as `get_int`."""
        return self._typed(key, default, list, "an array of strings")

    def get_array(self, key: str, n: int | None = None, default: NDArray[Any] | None = None) -> NDArray[Any]:
        """The array of numbers under `key`.

        Parameters
        ----------
        key : str
            Which value.
        n : int | None
            How many there must be. A single number then counts for each of the n, as with values that may
            differ from layer to layer ("llama.attention.head_count_kv").
        default : ndarray | None
            What to return if there is no such key.

        Returns
        -------
        ndarray[n]
            Of the type in the file (int64 or float64 for a single number); read-only.

        Raises
        ------
        GGUFError
            If the key is missing without a default, holds no numbers, or not n of them.
        """
        wanted = "an array of numbers" if n is None else f"an array of {n} numbers, or one for all"
        if n is not None and isinstance(self.get(key), (int, float)):
            return np.broadcast_to(np.asarray(self[key]), (n,))
        array = self._typed(key, default, np.ndarray, wanted)
        if n is not None and len(array) != n:
            raise GGUFError(f"{self._where}: {key}: {wanted} is needed, but it has {len(array)}")
        return array

    def release(self) -> None:
        """Let go of the file: arrays that were not decoded before can no longer be."""
        self._buffer = None

    def _typed(self, key: str, default: T | None, kinds: type[Any] | tuple[type[Any], ...], wanted: str) -> T:
        if key not in self._fields:
            if default is None:
                raise GGUFError(f"{self._where}: {key}: not in the metadata, but {wanted} is needed")
            return default
        value: Any = self[key]
        is_stray_bool = isinstance(value, bool) and kinds is not bool  # a bool is an int to Python
        if not isinstance(value, kinds) or is_stray_bool:
            raise GGUFError(f"{self._where}: {key}: is {describe(self._fields[key])}, but {wanted} is needed")
        return value  # type: ignore[no-any-return]

    def _decode(self, key: str, field: Field) -> Array:
        if self._buffer is None:
            raise GGUFError(f"{self._where}: {key}: the file is closed, and this array was not read before")
        where = f"{self._where}: {key}"
        # A copy: the place in the file need not be aligned, and a view would keep the file mapped.
        data = bytes(self._buffer[field.start : field.end])
        if field.element in SCALARS:
            return _decode_numbers(data, field.element, where)
        return _decode_strings(data, field.n, where)


def describe(field: Field) -> str:
    """What a value is, in words: "INT32 5", "an array of 32 STRING"."""
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
        raise GGUFError(f"{where}: has changed in the file since it was opened") from None
    return strings


def _decode_numbers(data: bytes, element: ValueType, where: str) -> NDArray[Any]:
    array = np.frombuffer(data, SCALARS[element])
    if element == ValueType.BOOL:
        if (array > 1).any():
            raise GGUFError(f"{where}: a bool is neither 0 nor 1")
        array = array.view(np.bool_)
    return array
