"""The breadth of a JSON schema: how many properties may come next at one place, which determines the cost of a mask.

At the start of a key, all properties of the object are possible, and those of all objects of an `anyOf`. The work of a
mask grows with the square of their number, so a schema that is too broad would exceed the time limit within a request.
"""

from __future__ import annotations

from typing import Any

from realizar.errors import GrammarError
from realizar.sampling.grammar.positions import positions, target

MAX_PROPERTIES = 750
"""Limit for one object, or for all objects of one anyOf, each counted as two more: 20 ms for 152,000 tokens."""
OPEN = 3
"""Cost of a property if the object allows additional properties; it is 1 if it does not."""

_MAX_LINKS = 100  # references and combinations followed in a chain
_OBJECT = frozenset(("additionalProperties", "patternProperties", "properties", "required"))
_COMBINING = frozenset(("$ref", "allOf", "anyOf", "oneOf"))

Size = tuple[int, int]  # number of alternatives, and their total cost


def check_breadth(schema: dict[str, Any]) -> None:
    """Raise a GrammarError that names the place if a schema is too broad."""
    measure = _Measure(schema)
    for path, position in positions(schema):
        cost = max(measure.size(position)[1], _own_cost(position))
        if cost > OPEN * MAX_PROPERTIES:
            raise GrammarError(
                f"json_schema: {-(-cost // OPEN)} properties are possible at {path}, but the limit is {MAX_PROPERTIES} "
                "(for one object, or for all objects of an anyOf, each counted as two more; properties count one third "
                "if additionalProperties is false); split the object, or distinguish the objects by a constant first "
                "property"
            )


class _Measure:
    """Computes the sizes of the schemas inside a schema, each once."""

    def __init__(self, root: dict[str, Any]) -> None:
        self._root = root
        self._known: dict[int, Size] = {}

    def size(self, schema: Any, n_links: int = 0) -> Size:
        """Return the number of alternatives of a schema and their cost; recursive references count once."""
        if not isinstance(schema, dict) or n_links > _MAX_LINKS:
            return 1, 0
        if id(schema) in self._known:
            return self._known[id(schema)]
        self._known[id(schema)] = 1, 0
        sizes = [(1, 1 if _is_tagged(schema) else _own_cost(schema))]
        for keyword in ("anyOf", "oneOf"):
            if isinstance(schema.get(keyword), list):
                options = [self.size(option, n_links + 1) for option in schema[keyword]]
                sizes.append((sum(n for n, cost in options if cost) or 1, sum(cost for _, cost in options)))
        parts = schema["allOf"] if isinstance(schema.get("allOf"), list) else []
        if isinstance(schema.get("$ref"), str):
            parts = [*parts, target(self._root, schema["$ref"])]
        sizes += [self.size(part, n_links + 1) for part in parts]
        n, cost = 1, 0
        for n_more, more in sizes:  # they are combined: each alternative with each
            n, cost = n * n_more, cost * n_more + more * n
        self._known[id(schema)] = n, cost
        return n, cost


def _is_tagged(schema: dict[str, Any]) -> bool:
    """Whether an object begins with a constant property (a tag), which distinguishes it from others."""
    properties, required = schema.get("properties"), schema.get("required")
    if not isinstance(properties, dict) or not isinstance(required, list):
        return False
    name, tag = next(iter(properties.items()), ("", None))
    return name in required and isinstance(tag, dict) and ("const" in tag or len(tag.get("enum", ())) == 1)


def _own_cost(schema: dict[str, Any]) -> int:
    """Return the cost of a schema itself; scalars cost nothing, because they are one regular expression."""
    if "const" in schema or "enum" in schema:
        values = [schema["const"]] if "const" in schema else schema["enum"]
        return sum(len(value) + 2 for value in values if isinstance(value, (dict, list)))
    types = schema.get("type", ("object", "array"))
    types = [types] if isinstance(types, str) else types
    if not _COMBINING.isdisjoint(schema) and _OBJECT.isdisjoint(schema):
        return 0
    cost = OPEN * 2 if "array" in types else 0
    if "object" in types:
        n_names = sum(len(schema[k]) for k in ("properties", "patternProperties") if isinstance(schema.get(k), dict))
        cost += (n_names + 2) * (1 if schema.get("additionalProperties") is False else OPEN)
    return cost
