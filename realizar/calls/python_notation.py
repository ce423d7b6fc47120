"""PythonNotation: the arguments of a call as in Python, f(a=1, b='text')."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from realizar.calls.literals import LiteralRules, Style
from realizar.calls.notation import Notation, Rules
from realizar.calls.schema_types import check_object

if TYPE_CHECKING:
    from realizar.calls.tool import Tool

PYTHON = Style({"true": ("True", "true"), "false": ("False", "false"), "null": ("None", "null")})
"""Python's literals; true, false and null of JSON too, which some templates write inside of lists and objects."""

_INSIDE = {quote: re.compile(rf"(?:[^{quote}\\]+|\\.)*", re.DOTALL) for quote in "'\""}
"""Quote -> the inside of a string, up to that quote or a backslash that is cut off."""
_JSON_NAMES = re.compile(r"""("(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')|\b(true|false|null)\b""")


@dataclass(frozen=True)
class PythonNotation(Notation):
    """Keyword arguments, in the order of the schema; the parentheses belong to the texts around them.

    Attributes
    ----------
    comma : str
        Between two arguments.
    """

    comma: str = ", "

    def probe(self, value: str) -> re.Pattern[str]:
        """See `Notation`."""
        return re.compile(rf"a=(['\"]){value}\1(,\s*)b=\1{value}\1")

    def learned(self, found: re.Match[str]) -> PythonNotation:
        """See `Notation`."""
        return replace(self, comma=found[2])

    def rules(self, tool: Tool, rules: Rules) -> str:
        """See `Notation`."""
        check_object(tool.parameters, "#", rules.lenient)
        schema = {"additionalProperties": False, **tool.parameters}
        return LiteralRules(PYTHON, schema, rules).members(schema, "#", self.comma, "=", quoted=False)

    def reader(self, tool: Tool) -> MemberReader:
        """See `Notation`."""
        return MemberReader("=", ")", "'\"", python_value)

    def write(self, arguments: Mapping[str, Any]) -> str:
        """See `Notation`."""
        return self.comma.join(f"{key}={PYTHON.write(value)}" for key, value in arguments.items())


class MemberReader:
    """Converts members of an object to JSON, each when it is complete.

    Parameters
    ----------
    colon : str
        Between a key and its value.
    end : str
        The bracket that ends the members; it is not read.
    quotes : str
        Characters that begin and end a string, in which a backslash escapes; for a longer mark, `mark`.
    value : callable
        Returns the value of a text; raises ValueError if it is none.
    mark : str
        A text that begins and ends a raw string.
    """

    def __init__(self, colon: str, end: str, quotes: str, value: Callable[[str], Any], mark: str = "") -> None:
        self._colon, self._end, self._value, self._mark = colon, end, value, mark
        self._quotes = quotes
        self.rest: str | None = None
        self._unread = ""
        self._n = 0
        # How far the unread text is scanned: position, open brackets, and what ends the string there, if it is in one.
        self._at, self._depth, self._open = 0, 0, ""

    def push(self, text: str) -> str:
        """See `ArgumentsReader`."""
        self._unread += text
        pieces = []
        while self.rest is None and (end := self._member_end()) is not None:
            member, self._unread = self._unread[:end], self._unread[end:]
            self._at = 0
            if member.strip():
                pieces.append(self._json(member.strip()))
            if self._unread[:1] == ",":
                self._unread = self._unread[1:]
            else:
                self.rest, self._unread = self._unread, ""
                pieces.append("}" if self._n else "{}")
        return "".join(pieces)

    def _member_end(self) -> int | None:
        """Return where the first member ends; None if more text is needed. No text is scanned twice."""
        text, mark = self._unread, self._mark
        while self._at < len(text):
            if self._open:
                if not self._skip_string():
                    return None
                continue
            character = text[self._at]
            if mark and text.startswith(mark, self._at):
                self._open = mark
            elif mark and len(text) - self._at < len(mark) and mark.startswith(text[self._at :]):  # it is cut off
                return None
            elif character in self._quotes:
                self._open = character
            elif self._depth == 0 and character in ("," + self._end):
                return self._at
            self._depth += (character in "([{") - (character in ")]}")
            self._at += len(self._open) or 1
        return None

    def _skip_string(self) -> bool:
        """Go to the end of the string; return whether it is there."""
        text, mark = self._unread, self._open
        if mark == self._mark:
            end = text.find(mark, self._at)
            self._at = max(self._at, len(text) - len(mark) + 1) if end < 0 else end
        else:
            inside = _INSIDE[mark].match(text, self._at)
            end = self._at = inside.end() if inside else self._at
            end = end if text[end : end + 1] == mark else -1
        if end < 0:
            return False
        self._at += len(mark)
        self._open = ""
        return True

    def _json(self, member: str) -> str:
        key, _, text = member.partition(self._colon)
        self._n += 1
        try:
            value = self._value(text.strip())
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            value = text
        return (
            ("{" if self._n == 1 else ", ")
            + f"{json.dumps(key.strip(), ensure_ascii=False)}: "
            + json.dumps(value, ensure_ascii=False)
        )


def python_value(text: str) -> Any:
    """Return the value of a Python literal, in which true, false and null may be JSON's."""
    names = {"true": "True", "false": "False", "null": "None"}
    return ast.literal_eval(_JSON_NAMES.sub(lambda found: found[1] or names[found[2]], text))
