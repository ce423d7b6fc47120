"""Where the schemas inside a JSON schema are: at its keywords, and where its references point to."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

# Keywords that hold a schema, a list of schemas (some of them either) or schemas by name.
_ONE = frozenset((
    "additionalItems", "additionalProperties", "contains", "contentSchema", "else", "if", "items", "not",
    "propertyNames", "then", "unevaluatedItems", "unevaluatedProperties",
))  # fmt: skip
_LISTS = frozenset(("allOf", "anyOf", "items", "oneOf", "prefixItems"))
_NAMED = frozenset(("$defs", "definitions", "dependencies", "dependentSchemas", "patternProperties", "properties"))


def positions(schema: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the schemas inside a schema, itself first, each once, after its path as a JSON pointer (RFC 6901).

    A schema may be changed when it is yielded: what it holds is looked up afterwards.
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
    """Return a name as a JSON pointer writes it."""
    return name.replace("~", "~0").replace("/", "~1")


def target(schema: dict[str, Any], reference: str) -> Any:
    """Return what a ``$ref`` points to inside a schema by a JSON pointer, or None; anchors are at keywords anyway."""
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
