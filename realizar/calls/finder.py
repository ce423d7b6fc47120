"""Finders: where the calls begin in a completion."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from realizar.sampling import StopFilter


class Finder(Protocol):
    """Separates the text of a completion from the calls after it."""

    def push(self, piece: str) -> tuple[str, str]:
        """Take the next piece; return text that belongs to no call, and the beginning of the calls once it is found."""
        ...

    def flush(self) -> str:
        """End the completion; return the text that was held back."""
        ...


class Marked:
    """Finds calls by one of several beginnings, anywhere in the completion."""

    def __init__(self, starts: Sequence[str]) -> None:
        self._stops = StopFilter(starts)

    def push(self, piece: str) -> tuple[str, str]:
        """See `Finder`."""
        text, hit = self._stops.push(piece)
        return text, hit + self._stops.rest if hit else ""

    def flush(self) -> str:
        """See `Finder`."""
        return self._stops.flush()


class Either:
    """Finds calls by one finder, and in the text that it lets pass by another one."""

    def __init__(self, first: Finder, second: Finder) -> None:
        self._first, self._second = first, second

    def push(self, piece: str) -> tuple[str, str]:
        """See `Finder`."""
        text, calls = self._first.push(piece)
        return ("", calls) if calls else self._second.push(text)

    def flush(self) -> str:
        """See `Finder`."""
        held = self._first.flush()
        text, calls = self._second.push(held) if held else ("", "")
        return text + calls + self._second.flush()


class AtStart:
    """Finds calls only at the beginning of the completion, by one of several beginnings."""

    def __init__(self, starts: Sequence[str]) -> None:
        self._starts = starts
        self._held: str | None = ""

    def push(self, piece: str) -> tuple[str, str]:
        """See `Finder`."""
        if self._held is None:
            return piece, ""
        text = self._held + piece
        begun = text.lstrip(" \n")
        if begun.startswith(tuple(self._starts)):
            self._held = None
            return "", begun
        if any(start.startswith(begun) for start in self._starts):
            self._held = text
            return "", ""
        self._held = None
        return text, ""

    def flush(self) -> str:
        """See `Finder`."""
        held, self._held = self._held or "", None
        return held
