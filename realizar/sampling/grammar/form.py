"""The form of a JSON schema: whether the values of its keywords are of the types that JSON Schema gives them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from realizar.errors import GrammarError, short_repr
from realizar.sampling.grammar.positions import escaped, positions, target

TYPES = ("string", "integer", "number", "boolean", "null", "array", "object")
"""The types of JSON Schema."""


def check_form(schema: dict[str, Any]) -> None:
    """Raise a GrammarError that names the place if a keyword has a value of a wrong type, or refers to itself.

    Keywords of a type that the schema does not allow say nothing, so their values may be anything.
    """
    ending: set[int] = set()
    for path, position in positions(schema):
        _check(position, path, "type")
        declared = position.get("type", TYPES)
        types = {declared} if isinstance(declared, str) else set(declared)
        if "number" in types:
            types.add("integer")
        for keyword in position.keys() & _FORMS.keys():
            kind = _FORMS[keyword][0]
            if kind is None or kind in types:
                _check(position, path, keyword)
        _check_reference(schema, position, path, ending)


def _check_reference(root: dict[str, Any], schema: Any, path: str, ending: set[int]) -> None:
    """Raise a GrammarError if references lead back to a schema without anything between: no value is valid.

    `ending` has the schemas whose references are known to end, so that a chain of them is followed once.
    """
    followed: set[int] = set()
    while isinstance(schema, dict) and isinstance(schema.get("$ref"), str) and id(schema) not in ending:
        if id(schema) in followed:
            reference = f"'$ref'={short_repr(schema['$ref'])}, at {path}/$ref"
            raise GrammarError(f"json_schema: {reference}: refers to itself; describe the values that are allowed")
        followed.add(id(schema))
        path, schema = schema["$ref"], target(root, schema["$ref"])
    ending |= followed


def _check(schema: dict[str, Any], path: str, keyword: str) -> None:
    _, is_valid, what = _FORMS[keyword]
    if keyword not in schema:
        return
    value, place = schema[keyword], f"{path}/{escaped(keyword)}"
    if not is_valid(value):
        raise GrammarError(f"json_schema: {short_repr(keyword)}={short_repr(value)}, at {place}: must be {what}")
    if keyword in _CONTAINERS:
        for name, part in value.items() if isinstance(value, dict) else enumerate(value):
            if not isinstance(part, (dict, bool)):
                raise GrammarError(
                    f"json_schema: {short_repr(part)}, at {place}/{escaped(str(name))}: must be {_SCHEMA}"
                )


def _is_type(value: Any) -> bool:
    names = value if isinstance(value, list) else [value]
    return bool(names) and all(isinstance(name, str) and name in TYPES for name in names)


def _is_any(value: Any) -> bool:
    return True


def _is_schema(value: Any) -> bool:
    return isinstance(value, (dict, bool))


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _are(is_valid: Callable[[Any], bool], least: int = 0) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list) and len(value) >= least and all(map(is_valid, value))


def _is_named(value: Any) -> bool:
    return isinstance(value, dict)


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


_COUNT = "a whole number, not negative"
_SCHEMA = "a schema: an object or a boolean"
_CONTAINERS = frozenset(("anyOf", "oneOf", "allOf", "prefixItems", "properties", "patternProperties"))
"""Keywords whose values have schemas in them."""

# Keyword -> the JSON type to which it applies (None: all), the test of its value, and what this must be.
_FORMS: dict[str, tuple[str | None, Callable[[Any], bool], str]] = {
    "type": (None, _is_type, f"one of {', '.join(TYPES)}, or a list of them"),
    "enum": (None, _are(_is_any, 1), "a list that is not empty"),
    "$ref": (None, _is_text, "a text"),
    **{name: (None, _are(_is_any, 1), "a list of schemas that is not empty") for name in ("anyOf", "oneOf")},
    "allOf": (None, _are(_is_any), "a list of schemas"),
    **dict.fromkeys(("properties", "patternProperties"), ("object", _is_named, "an object of schemas")),
    "required": ("object", _are(_is_text), "a list of names"),
    "additionalProperties": ("object", _is_schema, _SCHEMA),
    **dict.fromkeys(("minProperties", "maxProperties"), ("object", _is_count, _COUNT)),
    "items": ("array", lambda value: _is_schema(value) or _are(_is_schema)(value), f"{_SCHEMA}, or a list of schemas"),
    "prefixItems": ("array", _are(_is_any), "a list of schemas"),
    **dict.fromkeys(("minItems", "maxItems"), ("array", _is_count, _COUNT)),
    **dict.fromkeys(("minLength", "maxLength"), ("string", _is_count, _COUNT)),
    **dict.fromkeys(("pattern", "format"), ("string", _is_text, "a text")),
}
