"""Gemma 4: call:NAME{key:value,...}, with bare keys in alphabetical order, and strings between <|"|> marks."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from realizar.calls.chat_format import ChatFormat
from realizar.calls.literals import LiteralRules, Style
from realizar.calls.notation import Notation, Rules
from realizar.calls.python_notation import MemberReader
from realizar.calls.schema_types import check_object
from realizar.calls.tool import Tool

_QUOTE = '<|"|>'
_STYLE = Style(
    {"true": ("true",), "false": ("false",), "null": ("null", "None")},
    quote=_QUOTE, has_quoted_keys=False, colon=":", comma=",", is_sorted=True,
)  # fmt: skip
_TOKEN = re.compile(
    rf"\s*(?:({re.escape(_QUOTE)})(.*?){re.escape(_QUOTE)}|([\[\]{{}},])|([^\[\]{{}},:]+):|([^\[\]{{}},:]+))", re.S
)


class GemmaNotation(Notation):
    """An object without quotes around its keys."""

    @property
    def texts(self) -> tuple[str, ...]:
        """See `Notation`."""
        return (_QUOTE,)

    def probe(self, value: str) -> re.Pattern[str]:
        """See `Notation`."""
        written = re.escape(f"{_QUOTE}{value}{_QUOTE}")
        return re.compile(rf"\{{a:{written},b:{written}\}}")

    def rules(self, tool: Tool, rules: Rules) -> str:
        """See `Notation`."""
        check_object(tool.parameters, "#", rules.lenient)
        schema = {"additionalProperties": False, **tool.parameters}
        members = LiteralRules(_STYLE, schema, rules).members(schema, "#", ",", ":", quoted=False)
        return f'"{{" {members} "}}"'

    def reader(self, tool: Tool) -> GemmaReader:
        """See `Notation`."""
        return GemmaReader()

    def write(self, arguments: Mapping[str, Any]) -> str:
        """See `Notation`."""
        return f"{{{_STYLE.write_members(arguments)}}}"


class GemmaReader:
    """Converts an object to JSON, each member when it is complete."""

    def __init__(self) -> None:
        self._members = MemberReader(":", "}", "", value_of, _QUOTE)
        self._is_open = False
        self.rest: str | None = None

    def push(self, text: str) -> str:
        """See `ArgumentsReader`."""
        if not self._is_open and text:
            text, self._is_open = text[1:], True
        written = self._members.push(text)
        if self._members.rest is not None:
            self.rest = self._members.rest[1:]
        return written


def value_of(text: str) -> Any:
    """Return the value of a text; raises ValueError if it is none."""
    tokens = [found.groups() for found in _TOKEN.finditer(text)]
    value, end = _value(tokens, 0)
    if end != len(tokens):
        raise ValueError(f"{text[:40]!r} is no value of Gemma's calls")
    return value


def _value(tokens: list[tuple[str | None, ...]], at: int) -> tuple[Any, int]:
    """Return the value at an index of the tokens, and the index after it."""
    if at >= len(tokens):
        raise ValueError("the value is incomplete")
    mark, text, bracket, _, word = tokens[at]
    if mark:
        return text, at + 1
    if bracket == "[":
        return _items(tokens, at + 1)
    if bracket == "{":
        return _members(tokens, at + 1)
    if word is None:
        raise ValueError("a value is missing")
    return None if word.strip() == "None" else json.loads(word), at + 1


def _items(tokens: list[tuple[str | None, ...]], at: int) -> tuple[list[Any], int]:
    found = []
    while at < len(tokens) and tokens[at][2] != "]":
        value, at = _value(tokens, at + (tokens[at][2] == ","))
        found.append(value)
    return found, at + 1


def _members(tokens: list[tuple[str | None, ...]], at: int) -> tuple[dict[str, Any], int]:
    found = {}
    while at < len(tokens) and tokens[at][2] != "}":
        at += tokens[at][2] == ","
        key = tokens[at][3] if at < len(tokens) else None
        if key is None:
            raise ValueError("a key is missing")
        found[key.strip()], at = _value(tokens, at + 1)
    return found, at + 1


FORMAT = ChatFormat(
    "gemma4",
    contains=("<|tool_call>call:", _QUOTE),
    arguments=GemmaNotation(),
)
