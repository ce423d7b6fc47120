"""Grammars of values that are written neither as JSON nor as raw text: Python's literals, and notations like them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from realizar.calls.raw_text import raw_text
from realizar.calls.schema_types import only_types, properties_of, refuse, resolved, types_of
from realizar.calls.sequence import sequence
from realizar.sampling.grammar.form import TYPES
from realizar.sampling.grammar.schema import json_rule

if TYPE_CHECKING:
    from realizar.calls.notation import Rules

_QUOTED = r"""/'([^'\\\n]|\\['"\\nrt])*'|"([^"\\\n]|\\['"\\nrt])*"/"""
_KNOWN = {
    "string": {"enum", "const", "minLength", "maxLength", "pattern", "format"},
    "array": {"items", "minItems", "maxItems"},
    "object": {"properties", "required", "additionalProperties"},
    "integer": {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"},
}
_KNOWN["number"] = _KNOWN["integer"]
_ANYWHERE = {"type", "anyOf", "oneOf", "enum", "const", "$ref"}
_ANNOTATIONS = {
    "title", "description", "default", "examples", "$defs", "definitions", "deprecated", "nullable", "$comment",
}  # fmt: skip


@dataclass(frozen=True)
class Style:
    """How values are written.

    Attributes
    ----------
    names : mapping of str to tuple of str
        How "true", "false" and "null" may be written; the first way is the usual one.
    quote : str
        The mark before and after a string, which is raw text; empty for Python's strings.
    has_quoted_keys : bool
        Whether keys are strings, or bare.
    colon, comma : str
        Between key and value, and between members.
    is_sorted : bool
        Whether keys are sorted, ignoring case, instead of in the order of the schema.
    """

    names: Mapping[str, tuple[str, ...]]
    quote: str = ""
    has_quoted_keys: bool = True
    colon: str = ": "
    comma: str = ", "
    is_sorted: bool = False

    def write(self, value: Any) -> str:
        """Return a value as text."""
        if value is None or isinstance(value, bool):
            return self.names[json.dumps(value)][0]
        if isinstance(value, str):
            return f"{self.quote}{value}{self.quote}" if self.quote else repr(value)
        if isinstance(value, Mapping):
            return f"{{{self.write_members(value)}}}"
        if isinstance(value, (list, tuple)):
            return f"[{self.comma.join(map(self.write, value))}]"
        return json.dumps(value)

    def write_members(self, value: Mapping[str, Any]) -> str:
        """Return the members of an object as text, without braces."""
        keys = sorted(value, key=str.lower) if self.is_sorted else list(value)
        return self.comma.join(f"{self.key(key)}{self.colon}{self.write(value[key])}" for key in keys)

    def key(self, name: str) -> str:
        """Return a key as text."""
        return repr(name) if self.has_quoted_keys else name


class LiteralRules:
    """Adds rules for the values of a schema to a grammar.

    Parameters
    ----------
    style : Style
    root : mapping
        The schema in which references are looked up.
    rules : Rules
    """

    def __init__(self, style: Style, root: Mapping[str, Any], rules: Rules) -> None:
        self._style = style
        self._root = root
        self._rules = rules
        self._by_reference: dict[str, str] = {}
        self._terminals: dict[str, str] = {}
        self._n = 0

    def value(self, schema: Any, path: str) -> str:
        """Return the name of the rule of a schema's values.

        Raises
        ------
        GrammarError
            The schema has a keyword that cannot be enforced.
        """
        if schema is True or schema == {}:
            return self._any()
        reference = schema.get("$ref") if isinstance(schema, Mapping) else None
        if reference in self._by_reference:
            return self._by_reference[reference]
        self._n += 1
        name = f"v{self._n}"
        if isinstance(reference, str):
            self._by_reference[reference] = self._rules.prefix + name
        known = resolved(schema, self._root)
        for keyword in ("anyOf", "oneOf"):
            if keyword in known:
                parts = [self.value(part, f"{path}/{keyword}/{i}") for i, part in enumerate(known[keyword])]
                return self._rules.rule(name, " | ".join(parts))
        if "enum" in known or "const" in known:
            values = known.get("enum", [known.get("const")])
            return self._rules.rule(name, " | ".join(self._rules.literal(self._style.write(v)) for v in values))
        types = types_of(known, self._root)
        allowed = set().union(*(_KNOWN.get(t, set()) for t in types)) | _ANYWHERE | _ANNOTATIONS
        refuse(known.keys() - allowed, path, self._rules.lenient)
        return self._rules.rule(name, " | ".join(self._of_type(t, known, path, name) for t in sorted(types)))

    def members(self, schema: Mapping[str, Any], path: str, separator: str, colon: str, quoted: bool) -> str:
        """Return the items of the members of an object, without braces."""
        properties, required = properties_of(schema)
        names = sorted(properties, key=str.lower) if self._style.is_sorted else list(properties)
        items = []
        for name in names:
            value = self.value(properties[name], f"{path}/properties/{name}")
            written = self._rules.literal(name + colon)
            if quoted:
                keys = (json.dumps(name, ensure_ascii=False), repr(name))
                written = f"({' | '.join(self._rules.literal(key + colon) for key in keys)})"
            self._n += 1
            items.append((self._rules.rule(f"m{self._n}", f"{written} {value}"), name in required))
        others, additional = "", schema.get("additionalProperties", not properties)
        if additional is not False:
            key = self._terminal("quoted", _QUOTED) if quoted else self._terminal("bare", "/[A-Za-z0-9_.-]{1,64}/")
            value = self.value(additional, f"{path}/additionalProperties")
            self._n += 1
            others = self._rules.rule(f"m{self._n}", f"{key} {self._rules.literal(colon)} {value}")
        return sequence(items, self._rules.literal(separator), others)

    def _of_type(self, kind: str, schema: Mapping[str, Any], path: str, name: str) -> str:
        style, rules = self._style, self._rules
        if kind in ("boolean", "null"):
            written = style.names["null"] if kind == "null" else style.names["true"] + style.names["false"]
            return " | ".join(map(rules.literal, written))
        if kind == "string":
            return self._string(schema, path, name)
        if kind == "array":
            least, most = schema.get("minItems", 0), schema.get("maxItems")
            item = self.value(schema.get("items", {}), f"{path}/items")
            more = f"({rules.literal(style.comma)} {item}){{{max(least - 1, 0)},{'' if most is None else most - 1}}}"
            inside = '""' if most == 0 else f"{item} {more}" if least else f"({item} {more})?"
            return f'"[" {inside} "]"'
        if kind == "object":
            return f'"{{" {self.members(schema, path, style.comma, style.colon, style.has_quoted_keys)} "}}"'
        return json_rule({**only_types(schema, self._root, {kind}), "x-guidance": {}}, rules.lenient)

    def _string(self, schema: Mapping[str, Any], path: str, name: str) -> str:
        quote = self._style.quote
        if quote:
            return f"{self._rules.literal(quote)} {raw_text(self._rules.within(name), schema, quote, path)}"
        refuse({"minLength", "maxLength", "pattern", "format"} & schema.keys(), path, self._rules.lenient)
        return self._terminal("quoted", _QUOTED)

    def _terminal(self, name: str, pattern: str) -> str:
        """Return the name of a terminal, which is added once."""
        if name not in self._terminals:
            self._terminals[name] = self._rules.terminal(name, pattern)
        return self._terminals[name]

    def _any(self) -> str:
        """Return the name of the rule of all values."""
        if "" not in self._by_reference:
            self._by_reference[""] = f"{self._rules.prefix}any"
            self._rules.rule("any", " | ".join(self._of_type(t, {}, "#", "any") for t in TYPES if t != "integer"))
        return self._by_reference[""]
