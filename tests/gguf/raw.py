"""Helpers that build GGUF bytes by hand, including invalid ones."""

import struct

from realizar.gguf import GGMLType, ValueType


def string(text: str | bytes) -> bytes:
    data = text.encode() if isinstance(text, str) else text
    return struct.pack("<Q", len(data)) + data


def value(key: str | bytes, value_type: int, body: bytes) -> bytes:
    return string(key) + struct.pack("<I", value_type) + body


def u32(key: str, number: int) -> bytes:
    return value(key, ValueType.UINT32, struct.pack("<I", number))


def array(key: str, element: int, n: int, body: bytes) -> bytes:
    return value(key, ValueType.ARRAY, struct.pack("<IQ", element, n) + body)


def tensor(name: str | bytes, ne: tuple[int, ...], type: int = GGMLType.F32, offset: int = 0) -> bytes:
    return string(name) + struct.pack(f"<I{len(ne)}QIQ", len(ne), *ne, type, offset)


def gguf(
    values: list[bytes] | None = None,
    tensors: list[bytes] | None = None,
    data: bytes = b"",
    *,
    version: int = 3,
    n_values: int | None = None,
    n_tensors: int | None = None,
    alignment: int = 32,
) -> bytes:
    values = values or []
    tensors = tensors or []
    n_tensors = len(tensors) if n_tensors is None else n_tensors
    n_values = len(values) if n_values is None else n_values
    head = b"GGUF" + struct.pack("<IQQ", version, n_tensors, n_values) + b"".join(values + tensors)
    return head + bytes(-len(head) % alignment) + data if data else head
