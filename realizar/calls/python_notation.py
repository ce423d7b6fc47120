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
        strings = [rf"{q}(?:[^{q}\\]|\\.)*(?P<e{i}>{q})?" for i, q in enumerate(quotes)]
        if mark:
            strings.append(rf"{re.escape(mark)}(?:(?!{re.escape(mark)}).)*(?P<e{len(strings)}>{re.escape(mark)})?")
        self._part = re.compile(rf"(?P<string>{'|'.join(strings)})|(?P<other>.)", re.DOTALL)
        self.rest: str | None = None
        self._unread = ""
        self._n = 0

    def push(self, text: str) -> str:
        """See `ArgumentsReader`."""
        self._unread += text
        pieces = []
        while self.rest is None and (end := self._member_end()) is not None:
            member, self._unread = self._unread[:end], self._unread[end:]
            if member.strip():
                pieces.append(self._json(member.strip()))
            if self._unread[:1] == ",":
                self._unread = self._unread[1:]
            else:
                self.rest, self._unread = self._unread, ""
                pieces.append("}" if self._n else "{}")
        return "".join(pieces)

    def _member_end(self) -> int | None:
        """Return where the first member ends; None if more text is needed."""
        depth = 0
        for part in self._part.finditer(self._unread):
            if part["string"]:
                if not any(value for name, value in part.groupdict().items() if name.startswith("e")):
                    return None
                continue
            if self._mark.startswith(self._unread[part.start() :]):  # a mark that is cut off
                return None
            character = part["other"]
            if depth == 0 and character in ("," + self._end):
                return part.start()
            depth += (character in "([{") - (character in ")]}")
        return None

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
