"""ToolCallDelta: what a streamed completion adds to its tool calls, read while the model writes them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from typing import NamedTuple

from realizar.calls.tool import ToolCall

_STRING_PART = re.compile(r'[^"\\]+|\\.|\\', re.DOTALL)
_OTHER_PART = re.compile(r'[^"{}]+')


class ToolCallDelta(NamedTuple):
    """A piece of one tool call.

    Attributes
    ----------
    number : int
        Number of the call in the completion, from 0.
    id, name : str or None
        Those of the call in its first piece, else None.
    arguments : str
        A piece of the arguments: JSON, as the model writes it.
    """

    number: int
    id: str | None
    name: str | None
    arguments: str


class DeltaReader:
    """Reads the text of tool calls piece by piece. The joined deltas do not depend on how the text is cut into pieces.

    Parameters
    ----------
    first : re.Pattern
        Matches the text up to the arguments of the first call, with the group "name", and "next" if it has the id.
    following : re.Pattern or None
        The same between the arguments of a call and those of the next; None if there is at most one call.
    new_id : callable
        Maps the index of a call to its id, for formats without ids.
    """

    def __init__(self, first: re.Pattern[str], following: re.Pattern[str] | None, new_id: Callable[[int], str]) -> None:
        self._head: re.Pattern[str] | None = first
        self._following = following
        self._new_id = new_id
        self._n_begun = 0
        self._unread = ""
        self._depth = 0
        self._in_arguments = self._in_string = False
        self._new: list[ToolCallDelta] = []

    def push(self, piece: str) -> None:
        """Take the next piece of the text."""
        if not piece:
            return
        self._unread += piece
        while self._read_arguments() if self._in_arguments else self._read_head():
            pass

    def take(self) -> list[ToolCallDelta]:
        """Return the deltas since this was last asked for."""
        new, self._new = self._new, []
        return new

    def add_complete(self, calls: Iterable[ToolCall]) -> None:
        """Add calls as a whole."""
        for call in calls:
            arguments = json.dumps(call.arguments, ensure_ascii=False)
            self._new.append(ToolCallDelta(self._n_begun, call.id, call.name, arguments))
            self._n_begun += 1

    def _read_head(self) -> bool:
        """Read up to the arguments of the next call; return whether they are reached."""
        match = None if self._head is None else self._head.match(self._unread)
        if match is None:
            return False
        call_id = match.groupdict().get("next") or self._new_id(self._n_begun)
        self._new.append(ToolCallDelta(self._n_begun, call_id, match["name"], ""))
        self._n_begun += 1
        self._unread = self._unread[match.end() :]
        self._in_arguments, self._depth, self._in_string = True, 0, False
        return True

    def _read_arguments(self) -> bool:
        """Read what there is of the arguments; return whether they are complete."""
        end = self._end_of_object()
        piece = self._unread[:end]
        self._unread = self._unread[end:]
        if piece:
            self._new.append(ToolCallDelta(self._n_begun - 1, None, None, piece))
        if self._in_arguments:
            return False
        self._head = self._following
        return True

    def _end_of_object(self) -> int:
        """Return how much of the unread text is arguments; a backslash at the end waits for what follows."""
        text, at = self._unread, 0
        while at < len(text):
            if self._in_string:
                part = _STRING_PART.match(text, at)
                if part is None:
                    self._in_string = False
                    at += 1
                elif part.group() == "\\":
                    return at
                else:
                    at = part.end()
                continue
            part = _OTHER_PART.match(text, at)
            if part is not None:
                at = part.end()
                continue
            self._in_string = text[at] == '"'
            self._depth += {"{": 1, "}": -1}.get(text[at], 0)
            at += 1
            if self._depth == 0 and not self._in_string:
                self._in_arguments = False
                return at
        return at
