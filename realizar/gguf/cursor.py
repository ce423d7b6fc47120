"""Cursor: bounds-checked reading of numbers and strings from a GGUF header."""

from __future__ import annotations

import struct
from typing import NoReturn

from realizar.errors import GGUFError

U32 = struct.Struct("<I")
U64 = struct.Struct("<Q")


def shorten(text: str) -> str:
    """Return a text from a file for an error message: truncated, on one line, without control characters."""
    text = text if text.isprintable() else repr(text)
    return text if len(text) <= 80 else text[:77] + "..."


class Cursor:
    """A read position in a file's bytes.

    Parameters
    ----------
    buffer : memoryview
        The whole file.
    where : str
        File name for error messages.

    Attributes
    ----------
    at : int
        Offset of the next byte.
    """

    def __init__(self, buffer: memoryview, where: str) -> None:
        self.buffer = buffer
        self.where = where
        self.at = 0

    def fail(self, what: str, problem: str) -> NoReturn:
        """Raise a GGUFError about `what`, which may be text from the file."""
        raise GGUFError(f"{self.where}: {shorten(what)}: {problem}")

    def skip(self, n_bytes: int, what: str) -> int:
        """Skip `n_bytes` and return their offset."""
        start, left = self.at, len(self.buffer) - self.at
        if n_bytes > left:
            self.fail(
                what,
                f"needs {n_bytes} bytes at offset {start}, but the file ends at {len(self.buffer)}; "
                "the download may be incomplete",
            )
        self.at = start + n_bytes
        return start

    def scalar(self, layout: struct.Struct, what: str) -> int | float:
        """Read one number."""
        value: int | float = layout.unpack_from(self.buffer, self.skip(layout.size, what))[0]
        return value

    def u32(self, what: str) -> int:
        """Read a uint32."""
        return int(self.scalar(U32, what))

    def u64(self, what: str) -> int:
        """Read a uint64."""
        return int(self.scalar(U64, what))

    def string(self, what: str) -> str:
        """Read a length-prefixed UTF-8 string."""
        n_bytes = self.u64(f"length of {what}")
        start = self.skip(n_bytes, what)
        try:
            return str(self.buffer[start : start + n_bytes], "utf-8")
        except UnicodeDecodeError as e:
            self.fail(what, f"is not UTF-8 ({e.reason} at byte {e.start} of the string)")

    def text(self, what: str) -> str:
        """Read a string value: invalid UTF-8 bytes are escaped as "\\xff"."""
        n_bytes = self.u64(f"length of {what}")
        start = self.skip(n_bytes, what)
        return str(self.buffer[start : start + n_bytes], "utf-8", "backslashreplace")

    def count(self, smallest: int, what: str) -> int:
        """Read a number of items; raises if that many items of at least `smallest` bytes exceed the file."""
        n = self.u64(what)
        left = len(self.buffer) - self.at
        if n * smallest > left:
            self.fail(
                what,
                f"is {n}, which needs {n * smallest} bytes or more, but only {left} follow; "
                "the file is damaged or the download incomplete",
            )
        return n

    def skip_strings(self, n: int, what: str) -> int:
        """Skip n strings and return the offset of the first.

        Vocabularies have hundreds of thousands of strings, so this loop dominates the time to open a file: it reads
        only lengths and relies on `unpack_from` to detect the end of the file.
        """
        buffer, read, start = self.buffer, U64.unpack_from, self.at
        at = start
        try:
            for _ in range(n):
                at += 8 + read(buffer, at)[0]
        except (struct.error, OverflowError):
            at = len(buffer) + 1
        if at > len(buffer):
            self.fail(what, f"its {n} strings extend past the end of the file ({len(buffer)} bytes)")
        self.at = at
        return start
