"""CallReader: reads tool calls while a model writes them, as calls and as deltas of a stream."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from realizar.calls.notation import ArgumentsReader, Notation
from realizar.calls.tool import Tool, ToolCall

_MAX_DIGITS = 4300
"""Python's default limit for parsing integers; longer ones become floats."""


class ToolCallDelta(NamedTuple):
    """A piece of one tool call.

    Attributes
    ----------
    number : int
        Number of the call in the completion, from 0.
    id, name : str or None
        Those of the call in its first piece, else None.
    arguments : str
        A piece of the arguments as JSON.
    """

    number: int
    id: str | None
    name: str | None
    arguments: str


@dataclass
class _Call:
    id: str
    name: str
    pieces: list[str] = field(default_factory=list)
    is_complete: bool = False


class CallReader:
    """Reads the text of tool calls piece by piece. The joined deltas do not depend on how the text is cut into pieces.

    Parameters
    ----------
    first : re.Pattern
        Matches the text up to the arguments of the first call, with the group "name", and "next" if it has the id.
    following : re.Pattern or None
        The same between the arguments of a call and those of the next, with the group "previous" if it has the id of
        the former; None if there is at most one call.
    closing : re.Pattern
        The text after the last arguments, with the group "previous" if it has the id.
    notation : Notation
        How arguments are written.
    tools : mapping of str to Tool
        By name.
    new_id : callable
        Maps the index of a call to its id, for formats without ids.
    """

    def __init__(
        self, first: re.Pattern[str], following: re.Pattern[str] | None, closing: re.Pattern[str], notation: Notation,
        tools: Mapping[str, Tool], new_id: Callable[[int], str],
    ) -> None:  # fmt: skip
        self._head: re.Pattern[str] | None = first
        self._following = following
        self._closing = closing
        self._notation = notation
        self._tools = tools
        self._new_id = new_id
        self._calls: list[_Call] = []
        self._arguments: ArgumentsReader | None = None
        self._unread = ""
        self._new: list[ToolCallDelta] = []

    def push(self, piece: str) -> None:
        """Take the next piece of the text."""
        if not piece:
            return
        self._unread += piece
        while self._read_head() if self._arguments is None else self._read_arguments(self._arguments):
            pass

    def take(self) -> list[ToolCallDelta]:
        """Return the deltas since this was last asked for."""
        new, self._new = self._new, []
        return new

    def calls(self) -> list[ToolCall]:
        """Return the tool calls whose arguments are complete."""
        found: list[ToolCall] = []
        for call in self._calls:
            arguments = _object("".join(call.pieces)) if call.is_complete else None
            if arguments is None:
                break
            found.append(ToolCall(call.id, call.name, arguments))
        return [replace(call, id=call_id) for call, call_id in zip(found, self.ids, strict=False)]

    @property
    def ids(self) -> list[str]:
        """The ids of the calls, including that of the last one if the text after it contains it."""
        found = [call.id for call in self._calls]
        end = self._closing.match(self._unread) if self._arguments is None else None
        if end is not None and found:
            found[-1] = _late_id(end) or found[-1]
        return found

    def _read_head(self) -> bool:
        """Read up to the arguments of the next call; return whether they are reached."""
        match = None if self._head is None else self._head.match(self._unread)
        if match is None:
            return False
        if self._calls:
            self._calls[-1].id = _late_id(match) or self._calls[-1].id
        n = len(self._calls)
        call = _Call(match.groupdict().get("next") or self._new_id(n), match["name"])
        self._calls.append(call)
        self._new.append(ToolCallDelta(n, call.id, call.name, ""))
        self._unread = self._unread[match.end() :]
        self._arguments = self._notation.reader(self._tools[call.name])
        return True

    def _read_arguments(self, arguments: ArgumentsReader) -> bool:
        """Read what there is of the arguments; return whether they are complete."""
        piece = arguments.push(self._unread)
        self._unread = arguments.rest or ""
        if piece:
            self._calls[-1].pieces.append(piece)
            self._new.append(ToolCallDelta(len(self._calls) - 1, None, None, piece))
        if arguments.rest is None:
            return False
        self._calls[-1].is_complete = True
        self._arguments, self._head = None, self._following
        return True


def _late_id(match: re.Match[str]) -> str | None:
    """Return the id of the previous call if the text after it contains one."""
    return match.groupdict().get("previous")


def _object(text: str) -> dict[str, Any] | None:
    """Return a JSON object; None if the text is none that Python can parse."""
    try:
        value = _DECODER.decode(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


_DECODER = json.JSONDecoder(parse_int=lambda digits: int(digits) if len(digits) <= _MAX_DIGITS else float(digits))
