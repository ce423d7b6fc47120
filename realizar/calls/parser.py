"""ToolCallParser: separates tool calls from text while a completion is streamed."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from realizar.calls.delta import DeltaReader, ToolCallDelta
from realizar.calls.tool import ToolCall
from realizar.calls.tool_format import ID_OF_NEXT, ID_OF_PREVIOUS, OPTIONAL_ID, ToolCallFormat
from realizar.sampling import StopFilter

_MAX_DIGITS = 4300
"""Python's default limit for parsing integers; longer ones become floats."""


class ToolCallParser:
    """Takes a completion in pieces and returns the text that is not part of a tool call.

    Everything after the format's marker is tool calls. The result does not depend on how the text is cut into pieces.

    Parameters
    ----------
    tool_format : ToolCallFormat
    names : sequence of str
        Names of the tools.
    new_id : callable
        Maps the index of a call in the completion to its id, for formats without ids.
    calls_alone : bool
        Whether the completion consists of tool calls only.
    """

    def __init__(
        self, tool_format: ToolCallFormat, names: Sequence[str], new_id: Callable[[int], str], calls_alone: bool = False
    ) -> None:
        self._find: _Marked | _AtStart = (
            _Marked(tool_format.marker) if tool_format.marker else _AtStart(tool_format.start)
        )
        self._new_id = new_id
        self._written: list[str] = []
        self._begun = calls_alone
        head = (
            f"(?P<name>{'|'.join(map(re.escape, sorted(names, key=len, reverse=True)))}){_pattern(tool_format.middle)}"
        )
        self._first = re.compile(r"\s*" + _pattern(tool_format.start) + head)
        self._next = None if tool_format.between is None else re.compile(_pattern(tool_format.between) + head)
        self._closing = re.compile(_pattern(tool_format.closing))
        around = (tool_format.between or "") + tool_format.closing
        self._has_late_ids = ID_OF_PREVIOUS in around
        self._deltas = DeltaReader(self._first, self._next, new_id)

    @property
    def written(self) -> Sequence[str]:
        """The pieces of the calls so far, as the model writes them; some are empty."""
        return self._written

    def push(self, piece: str) -> str:
        """Take the next piece; return the text that is certainly not part of a call."""
        text, calls = ("", piece) if self._begun else self._find.push(piece)
        self._begun |= bool(calls)
        self._written.append(calls)
        if not self._has_late_ids:
            self._deltas.push(calls)
        return text

    def flush(self) -> str:
        """End the completion; return the text that was held back and did not become a call."""
        if self._has_late_ids:
            self._deltas.add_complete(self.calls())
        return self._find.flush()

    def take_deltas(self) -> list[ToolCallDelta]:
        """Return the deltas of tool calls since the last call.

        In formats that write a call's id after its arguments, all deltas come when the completion has ended.
        """
        return self._deltas.take()

    def calls(self) -> list[ToolCall]:
        """Return the tool calls whose arguments are complete."""
        text, at = "".join(self._written), 0
        found: list[ToolCall] = []
        head: re.Pattern[str] | None = self._first
        while head is not None and (start := head.match(text, at)):
            _set_id_of_last(found, start)
            arguments, at = _object(text, start.end())
            if arguments is None:
                break
            call_id = start.groupdict().get("next") or self._new_id(len(found))
            found.append(ToolCall(call_id, start["name"], arguments))
            head = self._next
        end = self._closing.match(text, at)
        if end is not None:
            _set_id_of_last(found, end)
        return found


class _Marked:
    """Finds calls by their marker, anywhere in the completion."""

    def __init__(self, marker: str) -> None:
        self._marker = marker
        self._stops = StopFilter([marker])

    def push(self, piece: str) -> tuple[str, str]:
        text, hit = self._stops.push(piece)
        return text, self._marker + self._stops.rest if hit else ""

    def flush(self) -> str:
        return self._stops.flush()


class _AtStart:
    """Finds calls only at the beginning of the completion."""

    def __init__(self, start: str) -> None:
        self._start = start
        self._held: str | None = ""

    def push(self, piece: str) -> tuple[str, str]:
        if self._held is None:
            return piece, ""
        text = self._held + piece
        begun = text.lstrip(" \n")
        if begun.startswith(self._start):
            self._held = None
            return "", begun
        if self._start.startswith(begun):
            self._held = text
            return "", ""
        self._held = None
        return text, ""

    def flush(self) -> str:
        held, self._held = self._held or "", None
        return held


def _set_id_of_last(calls: list[ToolCall], match: re.Match[str]) -> None:
    """Set the id of the last call if the text after it contains one."""
    if calls and (call_id := match.groupdict().get("previous")):
        calls[-1] = replace(calls[-1], id=call_id)


def _pattern(text: str) -> str:
    """Return a regular expression for a text of a format; see ID_OF_NEXT."""
    written = re.escape(text).replace(re.escape(OPTIONAL_ID), '(?:, "id": "(?P<previous>[A-Za-z0-9]{9})")?')
    for mark, group in ((ID_OF_NEXT, "next"), (ID_OF_PREVIOUS, "previous")):
        written = written.replace(re.escape(mark), f"(?P<{group}>[A-Za-z0-9]{{9}})", 1)
    return written


def _object(text: str, at: int) -> tuple[dict[str, Any] | None, int]:
    """Return the JSON object that begins at an offset and the offset of its end; None if it is incomplete."""
    try:
        value, end = _DECODER.raw_decode(text, at)
    except (ValueError, RecursionError):
        return None, at
    return (value, end) if isinstance(value, dict) else (None, at)


_DECODER = json.JSONDecoder(parse_int=lambda digits: int(digits) if len(digits) <= _MAX_DIGITS else float(digits))
