"""JSON schemas in llguidance's Lark, and where in a schema that stands which it cannot enforce."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from typing import Any

from realizar.errors import GrammarError, short_repr
from realizar.sampling.grammar.breadth import check_breadth
from realizar.sampling.grammar.numbers import coefficient
from realizar.sampling.grammar.positions import escaped, positions
from realizar.sampling.grammar.rewrite import cannot_be_enforced, rewrite

SPACE = r" |\n{1,2}[ \t]{0,20}"
"""White space between the parts of a JSON text, if any: that of llama.cpp. Without bounds a model may never stop."""

MAX_OBJECTS = 4000
"""Objects in a schema: llguidance follows references by recursion, and a chain of 1000 overflowed a stack of 8 MiB."""

MAX_DEPTH = 120
"""Objects and lists inside each other; llguidance reads 127."""

MAX_LENGTH = 1 << 22
"""Characters of a schema as JSON."""

_TOO_LARGE = (
    f"json_schema: more than {MAX_OBJECTS} objects are in it, or {MAX_DEPTH} objects and lists inside each other; "
    "take a smaller schema"
)

# What llguidance says, the keyword if that does not name it, what of it, and which of its values are meant.
_REFUSALS: tuple[tuple[str, str, str, Callable[[Any, re.Match[str]], bool]], ...] = (
    (r"Unimplemented keys: (\[.*\])", "", "", lambda value, found: True),
    (r"oneOf constraints are not supported", "oneOf", " whose schemas may overlap", lambda value, found: True),
    (r"Unknown format: (.*)", "format", " {}", lambda value, found: bool(value == found[1])),
    (r"Resource '(.*?)' is not present", "$ref", " to {}, which is not in the schema,",
     lambda value, found: found[1].endswith(str(value).split("#")[0])),
    (r"regexes (.*) and (.*) are not disjoint", "patternProperties", " that overlap, as {} and {},",
     lambda value, found: isinstance(value, dict)),
    (r"'multipleOf' has too many digits: (.*)", "multipleOf", " of {value}",
     lambda value, found: _has_digits(value, found[1])),
)  # fmt: skip
_NEVER = ("$ref", "patternProperties", "multipleOf")
"""Those that are not ignored on demand, either."""


def from_schema(schema: Mapping[str, Any] | str, lenient: bool = False) -> str:
    """Return the grammar of the JSON texts that a schema describes; see `json_rule`."""
    return f"start: {json_rule(schema, lenient)}"


def json_rule(schema: Mapping[str, Any] | str, lenient: bool | None = False) -> str:
    """Return what stands in a rule of a grammar for the JSON texts of a schema; properties come in the schema's order.

    Parameters
    ----------
    schema : mapping or str
        The schema, or its JSON text.
    lenient : bool | None
        Leave out of account what cannot be enforced, and take ``oneOf`` for ``anyOf``, instead of refusing it; None
        does what the schema itself says to llguidance.

    Raises
    ------
    GrammarError
        It is no JSON object, too large, or has in it what llguidance would not keep to.
    """
    parsed = _as_json(schema)
    own = parsed.get("x-guidance", {})  # what llguidance reads in a schema of how to write JSON
    if not isinstance(own, dict):
        raise GrammarError(f'json_schema: "x-guidance": {short_repr(own)}: must be an object')
    rewrite(parsed, own.get("lenient") is True if lenient is None else lenient)
    check_breadth(parsed)
    space = {} if own.get("whitespace_flexible") is False else {"whitespace_pattern": SPACE}
    options = {**space, **own} | ({} if lenient is None else {"lenient": lenient, "coerce_one_of": lenient})
    return f"%json {json.dumps({**parsed, 'x-guidance': options})}"


def refusal(schema: Mapping[str, Any] | str, message: str) -> str:
    """Return llguidance's refusal of a schema with the keywords at fault and where they stand."""
    for pattern, keyword, what, is_meant in _REFUSALS:
        if found := re.search(pattern, message):
            keywords = [keyword] if keyword else json.loads(found[1])
            meant = [
                (f"{path}/{escaped(name)}", position[name])
                for path, position in positions(_as_json(schema))
                for name in keywords
                if name in position and is_meant(position[name], found)
            ]
            value = short_repr(meant[0][1]) if meant else found[1]
            named = ", ".join(map(short_repr, keywords)) + what.format(*found.groups(), value=value)
            return cannot_be_enforced(named, [place for place, _ in meant], keyword not in _NEVER)
    return f"json_schema: {message}"


def _has_digits(value: Any, said: str) -> bool:
    """Whether llguidance, which names a number by its digits without the point, and rounded, means this one."""
    return isinstance(value, (int, float)) and float(coefficient(value)) == float(said)


def _as_json(schema: Mapping[str, Any] | str) -> dict[str, Any]:
    """Return a schema as JSON has it."""
    try:
        text = schema if isinstance(schema, str) else json.dumps(schema)
        if len(text) > MAX_LENGTH:
            raise ValueError(f"{len(text)} characters, and {MAX_LENGTH} are allowed")
        parsed = json.loads(text, parse_constant=_no_number, parse_float=_number)
    except RecursionError:
        raise GrammarError(_TOO_LARGE) from None
    except (TypeError, ValueError) as error:
        raise GrammarError(f"json_schema: cannot be read: {error}") from None
    if not isinstance(parsed, dict):
        raise GrammarError(f"json_schema={short_repr(schema)}: must be a JSON object")
    _check_size(parsed)
    return parsed


def _no_number(name: str) -> float:
    raise ValueError(f"{name} is no number of JSON")


def _number(text: str) -> float:
    """Return a number; llguidance wants 2.0 as 2 in maxItems and its kin, where both are allowed."""
    value = float(text)
    if math.isinf(value):
        raise ValueError(f"{text} is greater than a double can be")
    return int(value) if value.is_integer() and abs(value) < 2**53 else value


def _check_size(schema: dict[str, Any]) -> None:
    todo: list[tuple[Any, int]] = [(schema, 1)]
    n = 0
    while todo:
        value, depth = todo.pop()
        n += isinstance(value, dict)
        if n > MAX_OBJECTS or depth > MAX_DEPTH:
            raise GrammarError(_TOO_LARGE)
        if isinstance(value, (dict, list)):
            inside = value.values() if isinstance(value, dict) else value
            todo += [(part, depth + 1) for part in inside]
