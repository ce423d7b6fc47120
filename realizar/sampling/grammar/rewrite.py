"""Rewrites a JSON schema for llguidance, so that every keyword is either enforced or rejected.

Keywords without effect are removed, numbers are replaced by ones that llguidance enforces exactly (numbers.py), and
keywords that it would enforce only partly are rejected with their place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from realizar.errors import GrammarError, short_repr
from realizar.sampling.grammar.numbers import fit_bounds, is_exact, lcm_overflows
from realizar.sampling.grammar.positions import escaped, positions

MAX_LENGTH = 2**32 - 1
"""No text reaches a maximum length from here on, and llguidance rejects some of them."""
_LENGTHS = ("maxItems", "maxLength", "maxProperties")
_MERGING = frozenset(("$ref", "allOf", "anyOf", "oneOf"))
"""Keywords that combine schemas."""


class _Place(NamedTuple):
    """A schema inside a schema, and whether a keyword that cannot be enforced there is removed (lenient)."""

    path: str
    schema: dict[str, Any]
    is_lenient: bool

    def refuse(self, keyword: str, what: str = "", is_ignorable: bool = True) -> None:
        """Raise GrammarError; if lenient, and the keyword may be ignored, remove it instead."""
        if self.is_lenient and is_ignorable:
            self.schema.pop(keyword, None)
            return
        raise GrammarError(
            cannot_be_enforced(short_repr(keyword) + what, [f"{self.path}/{escaped(keyword)}"], is_ignorable)
        )


def cannot_be_enforced(what: str, places: list[str], is_ignorable: bool) -> str:
    """Return the error message for keywords at these places of a schema."""
    where = " or ".join(places[:4]) + (" or elsewhere" if len(places) > 4 else "")
    where = f"at {where}" if places else "in a referenced schema"
    hint = ", or set lenient=True to ignore it" if is_ignorable else ""
    return f"json_schema: {what} cannot be enforced, {where}; remove it{hint}"


def rewrite(schema: dict[str, Any], is_lenient: bool = False) -> None:
    """Change a schema in place so that llguidance enforces or rejects every keyword.

    Parameters
    ----------
    schema : dict
        Parsed from JSON.
    is_lenient : bool
        Remove keywords that cannot be enforced and may be ignored.

    Raises
    ------
    GrammarError
        A keyword cannot be enforced, and llguidance would not report it.
    """
    multiples: list[_Place] = []
    merges = False
    for path, position in positions(schema):
        place = _Place(path, position, is_lenient)
        for keyword in [k for k, has_no_effect in _NO_OPS.items() if k in position and has_no_effect(position)]:
            del position[keyword]
        for keyword in _LENGTHS:
            if _number(position.get(keyword), 0) >= MAX_LENGTH:
                del position[keyword]
        _check_literals(place)
        _check_keys(place)
        fit_bounds(position, place.refuse)
        merges = merges or not _MERGING.isdisjoint(position)
        if _number(position.get("multipleOf"), 0):
            multiples.append(place)
    if merges and lcm_overflows([place.schema["multipleOf"] for place in multiples]):
        multiples[-1].refuse("multipleOf", " combined with the others", is_ignorable=False)


def _check_literals(place: _Place) -> None:
    """Reject numbers that llguidance would not write exactly."""
    for keyword in ("const", "enum"):
        for number in _numbers(place.schema.get(keyword)):
            if not is_exact(number):
                place.refuse(keyword, f" with {short_repr(number)}", is_ignorable=False)


def _check_keys(place: _Place) -> None:
    """Reject minimum counts of unnamed keys: llguidance does not track them, so the same key could count twice."""
    least, required = place.schema.get("minProperties"), place.schema.get("required")
    n_named = len(required) if isinstance(required, list) else 0
    if _number(least, 0) - n_named >= 2:
        place.refuse("minProperties", f" of {short_repr(least)} with {n_named} required,")


def _numbers(value: Any) -> Iterator[int | float]:
    """Yield the numbers inside a value of JSON."""
    todo = [value]
    while todo:
        item = todo.pop()
        if isinstance(item, (dict, list)):
            todo += item.values() if isinstance(item, dict) else item
        elif isinstance(item, (int, float)) and not isinstance(item, bool):
            yield item


def _number(value: Any, otherwise: int) -> int | float:
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else otherwise


def _allows_all(value: Any) -> bool:
    return value is True or value == {}


def _all_of(keyword: str, allows_all: Callable[[Any], bool]) -> Callable[[dict[str, Any]], bool]:
    return lambda schema: isinstance(schema[keyword], dict) and all(map(allows_all, schema[keyword].values()))


def _only(kind: str, keyword: str, has_no_effect: Callable[[dict[str, Any]], bool]) -> tuple[str, Any]:
    """Return a keyword that applies to one JSON type, with the test whether it has no effect."""

    def test(schema: dict[str, Any]) -> bool:
        types = schema.get("type", kind)
        return kind not in (types if isinstance(types, list) else [types]) or has_no_effect(schema)

    return keyword, test


def _has_no_branch(schema: dict[str, Any]) -> bool:
    return "if" not in schema or all(_allows_all(schema.get(branch, True)) for branch in ("then", "else"))


def _contains_nothing(schema: dict[str, Any]) -> bool:
    return "contains" not in schema or (schema.get("minContains") == 0 and "maxContains" not in schema)


# Keywords that llguidance or rewrite reject -> test whether the keyword has no effect, so that it can be removed.
_NO_OPS: dict[str, Callable[[dict[str, Any]], bool]] = dict((
    ("not", lambda schema: schema["not"] is False),
    ("if", _has_no_branch),
    ("then", _has_no_branch),
    ("else", _has_no_branch),
    _only("array", "uniqueItems", lambda s: s["uniqueItems"] is False or _number(s.get("maxItems"), 2) <= 1),
    _only("array", "contains", _contains_nothing),
    _only("array", "minContains", _contains_nothing),
    _only("array", "maxContains", _contains_nothing),
    _only("array", "unevaluatedItems", lambda schema: _allows_all(schema["unevaluatedItems"])),
    _only("object", "unevaluatedProperties", lambda schema: _allows_all(schema["unevaluatedProperties"])),
    _only("object", "minProperties", lambda schema: schema["minProperties"] == 0),
    _only("object", "propertyNames", lambda schema: _allows_all(schema["propertyNames"])),
    _only("object", "dependentRequired", _all_of("dependentRequired", lambda names: names == [])),
    _only("object", "dependentSchemas", _all_of("dependentSchemas", _allows_all)),
    _only("object", "dependencies", _all_of("dependencies", lambda value: value == [] or _allows_all(value))),
))  # fmt: skip
