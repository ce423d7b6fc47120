"""TagNotation: one element for each argument, as <parameter=KEY>VALUE</parameter>; strings are written as they are."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from realizar.calls.literals import LiteralRules
from realizar.calls.notation import Notation, Rules
from realizar.calls.python_notation import PYTHON
from realizar.calls.raw_text import begun_at_end, raw_text
from realizar.calls.schema_types import (
    check_object,
    only_types,
    properties_of,
    resolved,
    type_of,
    types_of,
    value_of,
)  # fmt: skip
from realizar.calls.sequence import sequence
from realizar.sampling.grammar.form import TYPES
from realizar.sampling.grammar.patterns import literal
from realizar.sampling.grammar.schema import json_rule

if TYPE_CHECKING:
    from realizar.calls.tool import Tool

KEY, VALUE, TYPE, IS_STRING = "{key}", "{value}", "{type}", "{is_string}"
"""Placeholders in an element: the name of an argument, its value, its JSON type, and "true" or "false"."""

_SPACE = "\x04"
_PARTS = re.compile(r"(\{key\}|\{value\}|\{type\}|\{is_string\}|\x04)")
STRING = frozenset(("string",))
"""The types of a value that is a string."""
_EXACT_SPACE = {"whitespace_flexible": False, "key_separator": ": ", "item_separator": ", "}
_OTHER_KEY = r"[^\s<>\"=]{1,64}"


@dataclass(frozen=True)
class TagNotation(Notation):
    """One element for each argument, in the order of the schema.

    Strings are raw text up to the end of the element; other values are JSON.

    Attributes
    ----------
    element : str
        With KEY and VALUE, and TYPE or IS_STRING where the element names the type of the value.
    between : str
        Text between two elements.
    empty : str
        Text instead of the elements of a call without arguments.
    number_name : str
        TYPE of integers.
    python_types : frozenset of str
        JSON types of values that are written as Python's literals, for example True.
    """

    element: str
    between: str = ""
    empty: str = ""
    number_name: str = "number"
    python_types: frozenset[str] = frozenset()

    @property
    def texts(self) -> tuple[str, ...]:
        """See `Notation`."""
        return tuple(_PARTS.split(self.element))

    def probe(self, value: str) -> re.Pattern[str]:
        """See `Notation`. White space may be around values, between tags, and after each element."""

        def pattern(key: str, space: str) -> str:
            texts = {KEY: key, VALUE: value, TYPE: "string", IS_STRING: "true", _SPACE: space}
            return "".join(texts.get(part) or re.escape(part) for part in _PARTS.split(self._spaced))

        first, second = pattern("a", r"(\s*)"), pattern("b", r"\s*")
        return re.compile(rf"{first}(?P<between>\s*){second}(?P<after>(?P=between))?")

    def learned(self, found: re.Match[str]) -> TagNotation:
        """See `Notation`. What is between two elements and also after the last belongs to each of them."""
        spaces = iter(found.groups())
        element = re.sub(_SPACE, lambda _: next(spaces), self._spaced)
        between = found["between"]
        if found["after"] is None:
            return replace(self, element=element, between=between)
        return replace(self, element=element + between, between="")

    @property
    def _spaced(self) -> str:
        """The element, with marks where there may be white space."""
        return self.element.replace("><", f">{_SPACE}<").replace(VALUE, _SPACE + VALUE + _SPACE)

    def rules(self, tool: Tool, rules: Rules) -> str:
        """See `Notation`. Arguments that the schema does not name need its additionalProperties."""
        schema = tool.parameters
        check_object(schema, "#", rules.lenient)
        properties, required = properties_of(schema)
        items = []
        for i, (name, value) in enumerate(properties.items()):
            body = self._element(rules.within(str(i)), rules.literal(name), value, schema, f"#/properties/{name}")
            items.append((rules.rule(f"{i}", body), name in required))
        others = ""
        additional = schema.get("additionalProperties", False)
        if additional is not False:
            named = "|".join(map(literal, properties))
            key = rules.terminal("key", f"/{_OTHER_KEY}/" + (f" & ~/{named}/" if named else ""))
            value = {} if additional is True else additional
            others = rules.rule("other", self._element(rules.within("o"), key, value, schema, "#/additionalProperties"))
        separator = rules.literal(self.between) if self.between else ""
        return sequence(items, separator, others, rules.literal(self.empty) if self.empty else "")

    def _element(self, rules: Rules, key: str, value: Any, root: Mapping[str, Any], path: str) -> str:
        """Return the items of the element of one argument."""
        before, _, rest = self.element.partition(KEY)
        middle, _, after = rest.partition(VALUE)
        types, known = types_of(value, root), resolved(value, root)
        head = f"{rules.literal(before)} {key}"

        def typed(name: str, is_string: str) -> str:
            return f"{head} {rules.literal(middle.replace(TYPE, name).replace(IS_STRING, is_string))}"

        names_types = TYPE in middle or IS_STRING in middle
        found = []
        if "string" in types:
            found.append(f"{typed('string', 'true')} {self.string(rules, known, after, path)}")
        others = types - {"string"}
        if others and (names_types or not found):
            groups = {(self.number_name if t == "integer" else t) if TYPE in middle else "" for t in others}
            for name in sorted(groups):
                kinds = {t for t in others if not name or t == name or (t == "integer" and name == self.number_name)}
                found.append(f"{typed(name, 'false')} {self._values(rules, known, root, kinds)} {rules.literal(after)}")
        return " | ".join(found)

    def string(self, rules: Rules, schema: Mapping[str, Any], after: str, path: str) -> str:
        """Return the items of a string of a schema, and of the text after it; errors as of `rules`."""
        return raw_text(rules, schema, after, path)

    def _values(self, rules: Rules, schema: Mapping[str, Any], root: Mapping[str, Any], types: set[str]) -> str:
        """Return the items of values that are no strings."""
        python, other = types & self.python_types, types - self.python_types
        defined = {name: root[name] for name in ("$defs", "definitions") if name in root}
        found = []
        if other:
            narrowed = {**only_types(schema, root, other), **defined, "x-guidance": _EXACT_SPACE}
            found.append(rules.rule(f"json_{'_'.join(sorted(other))}", json_rule(narrowed, rules.lenient)))
        if python:
            narrowed = only_types(schema, root, python)
            found.append(LiteralRules(PYTHON, root, rules.within("py")).value(narrowed, "#"))
        return f"({' | '.join(found)})"

    def reader(self, tool: Tool) -> TagReader:
        """See `Notation`."""
        return TagReader(self, tool.parameters)

    def write(self, arguments: Mapping[str, Any]) -> str:
        """See `Notation`."""
        return self.between.join(self._written(key, value) for key, value in arguments.items()) or self.empty

    def text(self, value: Any) -> str:
        """Return a value as text."""
        return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)

    def _written(self, key: str, value: Any) -> str:
        kind = self.number_name if type_of(value) == "integer" else type_of(value)
        named = self.element.replace(TYPE, kind).replace(IS_STRING, str(isinstance(value, str)).lower())
        return named.replace(KEY, key, 1).replace(VALUE, self.text(value), 1)


class TagReader:
    """Converts elements to a JSON object; strings piece by piece, other values when they are complete."""

    def __init__(self, notation: TagNotation, schema: Mapping[str, Any]) -> None:
        before, _, rest = notation.element.partition(KEY)
        middle, _, self._after = rest.partition(VALUE)
        self._before = notation.between + before, before
        self._schema = schema
        kinds = {re.escape(TYPE): r"(?P<type>\w+)", re.escape(IS_STRING): r"(?P<is_string>\w+)"}
        pattern = re.escape(middle)
        for mark, group in kinds.items():
            pattern = pattern.replace(mark, group, 1)
        self._head = re.compile(rf"({_OTHER_KEY}?){pattern}")
        self.rest: str | None = None
        self._unread = ""
        self._n = 0
        self._types: frozenset[str] | None = None  # of the value that is being read
        self._is_open = False  # whether a string has been begun

    def push(self, text: str) -> str:
        """See `ArgumentsReader`."""
        self._unread += text
        pieces = []
        while (piece := self._value() if self._types is not None else self._key()) is not None:
            pieces.append(piece)
        return "".join(pieces)

    def _key(self) -> str | None:
        """Read the beginning of an element; return the JSON of its key, or None if more text is needed."""
        if self.rest is not None:
            return None
        before = self._before[0 if self._n else 1]
        if not self._unread.startswith(before):
            if before.startswith(self._unread):
                return None
            self.rest, self._unread = self._unread, ""
            return "}" if self._n else "{}"
        found = self._head.match(self._unread, len(before))
        if found is None:
            return None
        self._unread = self._unread[found.end() :]
        self._types = self._types_of(found)
        self._is_open = False
        self._n += 1
        return ("{" if self._n == 1 else ", ") + json.dumps(found[1], ensure_ascii=False) + ": "

    def _types_of(self, head: re.Match[str]) -> frozenset[str]:
        named = head.groupdict()
        if "is_string" in named or "type" in named:
            is_string = named.get("is_string") == "true" or named.get("type") == "string"
            return STRING if is_string else frozenset(TYPES) - STRING
        properties, _ = properties_of(self._schema)
        return types_of(properties.get(head[1], self._schema.get("additionalProperties", {})), self._schema)

    def _value(self) -> str | None:
        """Read the unread part of a value; return its JSON, or None if more text is needed."""
        end = self._unread.find(self._after)
        if self._types == STRING:
            stop = end if end >= 0 else len(self._unread) - begun_at_end(self._unread, self._after)
            text = self._unread[:stop]
            if end < 0 and not text:
                return None
            self._unread = self._unread[stop:]
            piece = ("" if self._is_open else '"') + json.dumps(text, ensure_ascii=False)[1:-1]
            self._is_open = True
            if end < 0:
                return piece
        elif end < 0:
            return None
        else:
            types, text = self._types or STRING, self._unread[:end]
            self._unread = self._unread[end:]
            piece = json.dumps(value_of(text, types), ensure_ascii=False)
        self._unread = self._unread[len(self._after) :]
        closing = '"' if self._types == STRING else ""
        self._types = None
        return piece + closing
