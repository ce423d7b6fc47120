"""What a JSON schema says about the type of a value, for notations in which a value's text alone does not tell it."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from realizar.errors import GrammarError
from realizar.sampling.grammar.form import TYPES
from realizar.sampling.grammar.rewrite import cannot_be_enforced

_OBJECT = frozenset(("type", "properties", "required", "additionalProperties"))
_ANNOTATIONS = frozenset((
    "title", "description", "default", "examples", "$schema", "$id", "$comment", "$defs", "definitions", "deprecated",
    "readOnly", "writeOnly", "strict", "nullable",
))  # fmt: skip
_COMBINED = ("anyOf", "oneOf", "allOf")
MAX_DEPTH = 16
"""Limit on references and alternatives that are followed."""


def resolved(schema: Any, root: Mapping[str, Any], depth: int = 0) -> Mapping[str, Any]:
    """Return a schema with its reference, if it is one to a place in `root`, replaced by what it refers to."""
    if not isinstance(schema, Mapping):
        return {}
    reference = schema.get("$ref")
    if not isinstance(reference, str) or not reference.startswith("#") or depth > MAX_DEPTH:
        return schema
    place: Any = root
    for key in reference[1:].split("/")[1:]:
        name = key.replace("~1", "/").replace("~0", "~")
        if not isinstance(place, Mapping) or name not in place:
            return schema
        place = place[name]
    return resolved(place, root, depth + 1)


def types_of(schema: Any, root: Mapping[str, Any], depth: int = 0) -> frozenset[str]:
    """Return the JSON types that a schema allows; all of them if it does not say."""
    schema = resolved(schema, root)
    found = frozenset(TYPES)
    declared = schema.get("type")
    if isinstance(declared, str):
        found = frozenset((declared,))
    elif isinstance(declared, Sequence):
        found = frozenset(declared)
    if "integer" not in found and "number" in found:
        found |= {"integer"}
    if "const" in schema:
        found &= {type_of(schema["const"])}
    if isinstance(schema.get("enum"), Sequence):
        found &= {type_of(value) for value in schema["enum"]}
    if depth > MAX_DEPTH:
        return found
    for keyword in _COMBINED:
        parts = [types_of(part, root, depth + 1) for part in schema.get(keyword, ())]
        if parts:
            found &= frozenset.intersection(*parts) if keyword == "allOf" else frozenset.union(*parts)
    return found


def type_of(value: Any) -> str:
    """Return the JSON type of a value."""
    if value is None:
        return "null"
    for kinds, name in ((bool, "boolean"), (int, "integer"), (float, "number"), (str, "string"), (Mapping, "object")):
        if isinstance(value, kinds):
            return name
    return "array"


def value_of(text: str, types: frozenset[str]) -> Any:
    """Return the value that an argument's text stands for, one of the types if possible.

    Templates write other values than strings as JSON, or as Python (True, None, {'a': 1}).
    """
    if types == {"string"}:
        return text
    for parse in (json.loads, ast.literal_eval):
        try:
            value = parse(text)
            json.dumps(value)
        except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
            continue
        if type_of(value) in types or "string" not in types:
            return value
    return text


def properties_of(schema: Mapping[str, Any]) -> tuple[Mapping[str, Any], frozenset[str]]:
    """Return the properties of an object's schema, and the names of the required ones, which need no description."""
    required = frozenset(name for name in schema.get("required", ()) if isinstance(name, str))
    described = schema.get("properties", {})
    return {**described, **{name: {} for name in sorted(required - described.keys())}}, required


def only_types(schema: Mapping[str, Any], root: Mapping[str, Any], types: set[str]) -> dict[str, Any]:
    """Return a schema of those values that are of some types."""
    narrowed = dict(schema)
    for keyword in ("anyOf", "oneOf"):
        if keyword in schema:
            parts = [part for part in schema[keyword] if types_of(part, root) & types]
            narrowed[keyword] = [only_types(resolved(part, root), root, types) for part in parts]
    if "enum" in schema:
        narrowed["enum"] = [value for value in schema["enum"] if type_of(value) in types]
    elif not {"const", "anyOf", "oneOf", "allOf"} & schema.keys():
        kept = types_of(schema, root) & types
        narrowed["type"] = sorted(kept - {"integer"} if "number" in kept else kept)
    return narrowed


def check_object(schema: Mapping[str, Any], path: str, lenient: bool) -> None:
    """Check that a schema of an object has only keywords that the notations of calls can enforce.

    Raises
    ------
    GrammarError
        Names the others, unless `lenient`.
    """
    refuse(schema.keys() - _OBJECT - _ANNOTATIONS, path, lenient)


def refuse(keywords: Iterable[str], path: str, lenient: bool) -> None:
    """Raise GrammarError for keywords that cannot be enforced, if there are any and `lenient` is not set."""
    found = sorted(name for name in keywords if not name.startswith("x-"))
    if found and not lenient:
        raise GrammarError(cannot_be_enforced(", ".join(map(repr, found)), [f"{path}/{name}" for name in found], True))
