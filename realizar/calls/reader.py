"""CallReader: parts the calls from the text of an answer, while it is written."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from realizar.calls.form import ID_AHEAD, ID_BEHIND, OPTIONAL_ID, CallForm
from realizar.calls.tool import ToolCall
from realizar.sampling import StopFilter

_MAX_DIGITS = 4300
"""Python's limit for reading an integer; longer ones become floats."""


class CallReader:
    """Takes an answer piece by piece and passes on what is no call.

    What follows the marker of a form is calls to the end of the answer. They do not depend on where pieces end.

    Parameters
    ----------
    form : CallForm
    names : sequence of str
        The tools'.
    new_id : callable
        From the number of a call in the answer to the id that it gets where the model writes none.
    calls_alone : bool
        Whether the answer has no text.
    """

    def __init__(
        self, form: CallForm, names: Sequence[str], new_id: Callable[[int], str], calls_alone: bool = False
    ) -> None:
        self._find: _Marked | _AtStart = _Marked(form.marker) if form.marker else _AtStart(form.start)
        self._new_id = new_id
        self._written: list[str] = []
        self._begun = calls_alone
        head = f"(?P<name>{'|'.join(map(re.escape, sorted(names, key=len, reverse=True)))}){_pattern(form.middle)}"
        self._first = re.compile(r"\s*" + _pattern(form.start) + head)
        self._next = None if form.between is None else re.compile(_pattern(form.between) + head)
        self._closing = re.compile(_pattern(form.closing))

    @property
    def written(self) -> Sequence[str]:
        """The pieces of the calls so far, as the model writes them; some are empty."""
        return self._written

    def push(self, piece: str) -> str:
        """Take the next piece; return the text that is certain now."""
        text, calls = ("", piece) if self._begun else self._find.push(piece)
        self._begun |= bool(calls)
        self._written.append(calls)
        return text

    def flush(self) -> str:
        """End the answer; return what was held back and did not become a call."""
        return self._find.flush()

    def calls(self) -> list[ToolCall]:
        """Return the calls whose arguments are complete."""
        text, at = "".join(self._written), 0
        found: list[ToolCall] = []
        head: re.Pattern[str] | None = self._first
        while head is not None and (start := head.match(text, at)):
            _give_id(found, start)
            arguments, at = _object(text, start.end())
            if arguments is None:
                break
            call_id = start.groupdict().get("ahead") or self._new_id(len(found))
            found.append(ToolCall(call_id, start["name"], arguments))
            head = self._next
        end = self._closing.match(text, at)
        if end is not None:
            _give_id(found, end)
        return found


class _Marked:
    """Finds calls by a marker, wherever it comes."""

    def __init__(self, marker: str) -> None:
        self._marker = marker
        self._stops = StopFilter([marker])

    def push(self, piece: str) -> tuple[str, str]:
        text, hit = self._stops.push(piece)
        return text, self._marker + self._stops.rest if hit else ""

    def flush(self) -> str:
        return self._stops.flush()


class _AtStart:
    """Finds calls where the answer begins with one."""

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


def _give_id(calls: list[ToolCall], behind: re.Match[str]) -> None:
    """Give the last call the id that stands behind it."""
    if calls and (call_id := behind.groupdict().get("behind")):
        calls[-1] = replace(calls[-1], id=call_id)


def _pattern(text: str) -> str:
    """Return the regular expression of a text of a form; see ID_AHEAD."""
    written = re.escape(text).replace(re.escape(OPTIONAL_ID), '(?:, "id": "(?P<behind>[A-Za-z0-9]{9})")?')
    for mark, group in ((ID_AHEAD, "ahead"), (ID_BEHIND, "behind")):
        written = written.replace(re.escape(mark), f"(?P<{group}>[A-Za-z0-9]{{9}})", 1)
    return written


def _object(text: str, at: int) -> tuple[dict[str, Any] | None, int]:
    """Return the JSON object that begins at a place, and where it ends; None if it is not there as a whole."""
    try:
        value, end = _DECODER.raw_decode(text, at)
    except (ValueError, RecursionError):
        return None, at
    return (value, end) if isinstance(value, dict) else (None, at)


_DECODER = json.JSONDecoder(parse_int=lambda digits: int(digits) if len(digits) <= _MAX_DIGITS else float(digits))
