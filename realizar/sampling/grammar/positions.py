"""Finds the schemas inside a JSON schema: at its keywords and the targets of its references."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

# Keywords whose value is a schema, a list of schemas (some allow both) or an object of schemas.
_ONE = frozenset((
    "additionalItems", "additionalProperties", "contains", "contentSchema", "else", "if", "items", "not",
    "propertyNames", "then", "unevaluatedItems", "unevaluatedProperties",
))  # fmt: skip
_LISTS = frozenset(("allOf", "anyOf", "items", "oneOf", "prefixItems"))
_NAMED = frozenset(("$defs", "definitions", "dependencies", "dependentSchemas", "patternProperties", "properties"))


def positions(schema: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (path, schema) of each schema inside a schema, itself first; the path is a JSON pointer (RFC 6901).

    The caller may change a yielded schema: its contents are read afterwards.
    """
    todo: deque[tuple[str, Any]] = deque([("#", schema)])
    seen: set[int] = set()
    while todo:
        path, position = todo.popleft()
        if not isinstance(position, dict) or id(position) in seen:
            continue
        seen.add(id(position))
        yield path, position
        for keyword, value in position.items():
            here = f"{path}/{escaped(keyword)}"
            if keyword in _ONE and isinstance(value, dict):
                todo.append((here, value))
            elif keyword in _LISTS and isinstance(value, list):
                todo += [(f"{here}/{i}", part) for i, part in enumerate(value)]
            elif keyword in _NAMED and isinstance(value, dict):
                todo += [(f"{here}/{escaped(name)}", part) for name, part in value.items()]
            elif keyword == "$ref" and isinstance(value, str):
                todo.append((value, target(schema, value)))


def escaped(name: str) -> str:
    """Return a name escaped for a JSON pointer."""
    return name.replace("~", "~0").replace("/", "~1")


def target(schema: dict[str, Any], reference: str) -> Any:
    """Return the target of a ``$ref`` if it is a JSON pointer into the schema, else None.

    Schemas with anchors are found at their keywords anyway.
    """
    if reference != "#" and not reference.startswith("#/"):
        return None
    value: Any = schema
    for part in unquote(reference).split("/")[1:]:
        name = part.replace("~1", "/").replace("~0", "~")
        if isinstance(value, dict):
            value = value.get(name)
        elif isinstance(value, list) and name.isdecimal() and int(name[:9]) < len(value):
            value = value[int(name[:9])]
        else:
            return None
    return value
