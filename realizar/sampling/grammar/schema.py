"""JSON schemas in llguidance's Lark, and where in a schema that stands which it cannot enforce."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from realizar.errors import GrammarError, shown

MAX_OBJECTS = 4000
"""Objects in a schema: llguidance follows references by recursion, and a chain of 1000 overflowed a stack of 8 MiB."""

MAX_DEPTH = 120
"""Objects and lists inside each other; llguidance reads 127."""

# Keywords that hold a schema, a list of schemas (some of them either) or schemas by name.
_ONE = frozenset((
    "additionalItems", "additionalProperties", "contains", "contentSchema", "else", "if", "items", "not",
    "propertyNames", "then", "unevaluatedItems", "unevaluatedProperties",
))  # fmt: skip
_LISTS = frozenset(("allOf", "anyOf", "items", "oneOf", "prefixItems"))
_NAMED = frozenset(("$defs", "definitions", "dependencies", "dependentSchemas", "patternProperties", "properties"))

# What llguidance says, the keyword if that does not name it, what of it, and which of its values are meant.
_REFUSALS: tuple[tuple[str, str, str, Callable[[Any, re.Match[str]], bool]], ...] = (
    (r"Unimplemented keys: (\[.*\])", "", "", lambda value, found: True),
    (r"oneOf constraints are not supported", "oneOf", " whose schemas may overlap", lambda value, found: True),
    (r"Unknown format: (.*)", "format", " {}", lambda value, found: bool(value == found[1])),
    (r"Resource '(.*?)' is not present", "$ref", " to {}, which is not in the schema,",
     lambda value, found: found[1].endswith(str(value).split("#")[0])),
    (r"regexes (.*) and (.*) are not disjoint", "patternProperties", " that overlap, as {} and {},",
     lambda value, found: isinstance(value, dict)),
    (r"'multipleOf' has too many digits: (.*)", "multipleOf", " of {}", lambda value, found: True),
)  # fmt: skip
_NEVER = ("$ref", "patternProperties", "multipleOf")
"""Those that are not ignored on demand, either."""


def from_schema(schema: Mapping[str, Any] | str, lenient: bool = False) -> str:
    """Return the grammar of the JSON texts that a schema describes; see `json_rule`."""
    return f"start: {json_rule(schema, lenient)}"


def json_rule(schema: Mapping[str, Any] | str, lenient: bool = False) -> str:
    """Return what stands in a rule of a grammar for the JSON texts of a schema; properties come in the schema's order.

    Parameters
    ----------
    schema : mapping or str
        The schema, or its JSON text.
    lenient : bool
        Leave out of account what cannot be enforced, and take ``oneOf`` for ``anyOf``, instead of refusing it.

    Raises
    ------
    GrammarError
        It is no JSON object, or too large.
    """
    parsed = _as_json(schema)
    own = parsed.get("x-guidance", {})  # what llguidance reads in a schema of how to write JSON
    if not isinstance(own, dict):
        raise GrammarError(f'json_schema: "x-guidance": {shown(own)}: must be an object')
    options = {**own, "lenient": lenient, "coerce_one_of": lenient}
    return f"%json {json.dumps({**parsed, 'x-guidance': options})}"


def refusal(schema: Mapping[str, Any] | str, message: str) -> str:
    """Return llguidance's refusal of a schema with the keywords at fault and where they stand."""
    for pattern, keyword, what, is_meant in _REFUSALS:
        if found := re.search(pattern, message):
            keywords = [keyword] if keyword else json.loads(found[1])
            places = [
                f"{path}/{_escaped(name)}"
                for path, position in _positions(_as_json(schema))
                for name in keywords
                if name in position and is_meant(position[name], found)
            ]
            where = " or ".join(places[:4]) + (" or further on" if len(places) > 4 else "")
            where = f"at {where}" if places else "in what it refers to"
            named = ", ".join(map(shown, keywords)) + what.format(*found.groups())
            hint = "" if keyword in _NEVER else ", or set lenient=True to ignore it"
            return f"json_schema: {named} cannot be enforced, {where}; take it out{hint}"
    return f"json_schema: {message}"


def _as_json(schema: Mapping[str, Any] | str) -> dict[str, Any]:
    """Return a schema as JSON has it."""
    try:
        text = schema if isinstance(schema, str) else json.dumps(schema)
        parsed = json.loads(text, parse_constant=_no_number, parse_float=_number)
    except (TypeError, ValueError, RecursionError) as error:
        raise GrammarError(f"json_schema: is no JSON: {error}") from None
    if not isinstance(parsed, dict):
        raise GrammarError(f"json_schema={shown(schema)}: must be a JSON object")
    _check_size(parsed)
    return parsed


def _no_number(name: str) -> float:
    raise ValueError(f"{name} is no number of JSON")


def _number(text: str) -> float:
    """Return a number; llguidance wants 2.0 as 2 in maxItems and its kin, where both are allowed."""
    value = float(text)
    return int(value) if value.is_integer() and abs(value) < 2**53 else value


def _check_size(schema: dict[str, Any]) -> None:
    todo: list[tuple[Any, int]] = [(schema, 1)]
    n = 0
    while todo:
        value, depth = todo.pop()
        n += isinstance(value, dict)
        if n > MAX_OBJECTS or depth > MAX_DEPTH:
            raise GrammarError(
                f"json_schema: more than {MAX_OBJECTS} objects are in it, or {MAX_DEPTH} inside each other; "
                "take a smaller schema"
            )
        if isinstance(value, (dict, list)):
            inside = value.values() if isinstance(value, dict) else value
            todo += [(part, depth + 1) for part in inside]


def _positions(schema: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the schemas inside a schema, itself first, each after its path as a JSON pointer (RFC 6901)."""
    todo: list[tuple[str, Any]] = [("#", schema)]
    while todo:
        path, position = todo.pop(0)
        if not isinstance(position, dict):
            continue
        yield path, position
        for keyword, value in position.items():
            here = f"{path}/{_escaped(keyword)}"
            if keyword in _ONE and isinstance(value, dict):
                todo.append((here, value))
            elif keyword in _LISTS and isinstance(value, list):
                todo += [(f"{here}/{i}", part) for i, part in enumerate(value)]
            elif keyword in _NAMED and isinstance(value, dict):
                todo += [(f"{here}/{_escaped(name)}", part) for name, part in value.items()]


def _escaped(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")
