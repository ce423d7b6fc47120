"""Cursor: reads the numbers and strings of a GGUF header, each checked against the end of the file."""

from __future__ import annotations

import struct
from typing import NoReturn

from realizar.errors import GGUFError

U32 = struct.Struct("<I")
U64 = struct.Struct("<Q")


def shorten(text: str) -> str:
    """A text from a file made fit for one line of an error: not too long, no control characters."""
    text = text if text.isprintable() else repr(text)
    return text if len(text) <= 80 else text[:77] + "..."


class Cursor:
    """A place in a file's bytes that moves forward as values are read.

    Parameters
    ----------
    buffer : memoryview
        The whole file.
    where : str
        Name of the file, for errors.

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
        """Raise a GGUFError about `what`, which may be a name from the file."""
        raise GGUFError(f"{self.where}: {shorten(what)}: {problem}")

    def skip(self, n_bytes: int, what: str) -> int:
        """Step over `n_bytes` and return where they start."""
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
        """Read a 32-bit count or type number."""
        return int(self.scalar(U32, what))

    def u64(self, what: str) -> int:
        """Read a 64-bit count or offset."""
        return int(self.scalar(U64, what))

    def string(self, what: str) -> str:
        """Read a length and that many bytes of UTF-8."""
        n_bytes = self.u64(f"length of {what}")
        start = self.skip(n_bytes, what)
        try:
            return str(self.buffer[start : start + n_bytes], "utf-8")
        except UnicodeDecodeError as e:
            self.fail(what, f"is not UTF-8 ({e.reason} at byte {e.start} of the string)")

    def text(self, what: str) -> str:
        """Read a string that names nothing: bytes that are not UTF-8 are escaped, as in "\\xff"."""
        n_bytes = self.u64(f"length of {what}")
        start = self.skip(n_bytes, what)
        return str(self.buffer[start : start + n_bytes], "utf-8", "backslashreplace")

    def count(self, smallest: int, what: str) -> int:
        """Read how many items follow, refusing more than fit if each has at least `smallest` bytes."""
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
        """Step over n strings and return where the first starts.

        A vocabulary has hundreds of thousands of them, so this is the one loop of opening a file whose
        speed matters: it reads lengths only, and lets `unpack_from` notice the end of the file.
        """
        buffer, read, start = self.buffer, U64.unpack_from, self.at
        at = start
        try:
            for _ in range(n):
                at += 8 + read(buffer, at)[0]
        except (struct.error, OverflowError):
            at = len(buffer) + 1
        if at > len(buffer):
            self.fail(what, f"its {n} strings go on past the end of the file ({len(buffer)} bytes)")
        self.at = at
        return start
