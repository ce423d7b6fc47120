"""What is changed in a JSON schema before llguidance reads it, so that all of it is enforced or refused.

Keywords that ask for nothing go, numbers become such as llguidance keeps to (numbers.py), and what it would enforce in
part is refused here with its place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from realizar.errors import GrammarError, short_repr
from realizar.sampling.grammar.numbers import fit_bounds, is_exact, lcm_overflows
from realizar.sampling.grammar.positions import escaped, positions

MOST_LENGTH = 2**32 - 1
"""A greatest length from here on is one that no text reaches, and llguidance does not read all of them."""
_LENGTHS = ("maxItems", "maxLength", "maxProperties")
_MERGING = frozenset(("$ref", "allOf", "anyOf", "oneOf"))
"""Where schemas become one."""


class _Place(NamedTuple):
    """A schema inside a schema, and what becomes of a keyword that cannot be enforced there."""

    path: str
    schema: dict[str, Any]
    is_lenient: bool

    def refuse(self, keyword: str, what: str = "", is_ignorable: bool = True) -> None:
        """Raise GrammarError, or take the keyword out where that is wished and harms nobody."""
        if self.is_lenient and is_ignorable:
            self.schema.pop(keyword, None)
            return
        raise GrammarError(
            cannot_be_enforced(short_repr(keyword) + what, [f"{self.path}/{escaped(keyword)}"], is_ignorable)
        )


def cannot_be_enforced(what: str, places: list[str], is_ignorable: bool) -> str:
    """Return what the refusal of some keywords says, which stand in these places of a schema."""
    where = " or ".join(places[:4]) + (" or further on" if len(places) > 4 else "")
    where = f"at {where}" if places else "in what it refers to"
    hint = ", or set lenient=True to ignore it" if is_ignorable else ""
    return f"json_schema: {what} cannot be enforced, {where}; take it out{hint}"


def rewrite(schema: dict[str, Any], is_lenient: bool = False) -> None:
    """Change a schema in place into one of which llguidance enforces all that it does not refuse.

    Parameters
    ----------
    schema : dict
        As JSON has it.
    is_lenient : bool
        Leave out what cannot be enforced and may be ignored.

    Raises
    ------
    GrammarError
        Something in it cannot be enforced, and llguidance would not say so.
    """
    multiples: list[_Place] = []
    merges = False
    for path, position in positions(schema):
        place = _Place(path, position, is_lenient)
        for keyword in [k for k, asks_nothing in _NO_OPS.items() if k in position and asks_nothing(position)]:
            del position[keyword]
        for keyword in _LENGTHS:
            if _number(position.get(keyword), 0) >= MOST_LENGTH:
                del position[keyword]
        _check_literals(place)
        _check_keys(place)
        fit_bounds(position, place.refuse)
        merges = merges or not _MERGING.isdisjoint(position)
        if _number(position.get("multipleOf"), 0):
            multiples.append(place)
    if merges and lcm_overflows([place.schema["multipleOf"] for place in multiples]):
        multiples[-1].refuse("multipleOf", " beside the others", is_ignorable=False)


def _check_literals(place: _Place) -> None:
    """Refuse numbers that llguidance would write as others."""
    for keyword in ("const", "enum"):
        for number in _numbers(place.schema.get(keyword)):
            if not is_exact(number):
                place.refuse(keyword, f" with {short_repr(number)}", is_ignorable=False)


def _check_keys(place: _Place) -> None:
    """Refuse to count keys that may be the same one: llguidance keeps no list of those that a schema does not name."""
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


def _takes_all(value: Any) -> bool:
    return value is True or value == {}


def _all_of(keyword: str, takes_all: Callable[[Any], bool]) -> Callable[[dict[str, Any]], bool]:
    return lambda schema: isinstance(schema[keyword], dict) and all(map(takes_all, schema[keyword].values()))


def _only(kind: str, keyword: str, asks_nothing: Callable[[dict[str, Any]], bool]) -> tuple[str, Any]:
    """Return a keyword that is for one type of JSON, with whether it asks for nothing."""

    def test(schema: dict[str, Any]) -> bool:
        types = schema.get("type", kind)
        return kind not in (types if isinstance(types, list) else [types]) or asks_nothing(schema)

    return keyword, test


def _has_no_branch(schema: dict[str, Any]) -> bool:
    return "if" not in schema or all(_takes_all(schema.get(branch, True)) for branch in ("then", "else"))


def _contains_nothing(schema: dict[str, Any]) -> bool:
    return "contains" not in schema or (schema.get("minContains") == 0 and "maxContains" not in schema)


# Keywords that llguidance, or we, refuse whatever they say, and when they say nothing.
_NO_OPS: dict[str, Callable[[dict[str, Any]], bool]] = dict((
    ("not", lambda schema: schema["not"] is False),
    ("if", _has_no_branch),
    ("then", _has_no_branch),
    ("else", _has_no_branch),
    _only("array", "uniqueItems", lambda s: s["uniqueItems"] is False or _number(s.get("maxItems"), 2) <= 1),
    _only("array", "contains", _contains_nothing),
    _only("array", "minContains", _contains_nothing),
    _only("array", "maxContains", _contains_nothing),
    _only("array", "unevaluatedItems", lambda schema: _takes_all(schema["unevaluatedItems"])),
    _only("object", "unevaluatedProperties", lambda schema: _takes_all(schema["unevaluatedProperties"])),
    _only("object", "minProperties", lambda schema: schema["minProperties"] == 0),
    _only("object", "propertyNames", lambda schema: _takes_all(schema["propertyNames"])),
    _only("object", "dependentRequired", _all_of("dependentRequired", lambda names: names == [])),
    _only("object", "dependentSchemas", _all_of("dependentSchemas", _takes_all)),
    _only("object", "dependencies", _all_of("dependencies", lambda value: value == [] or _takes_all(value))),
))  # fmt: skip
