"""Converts JSON schemas to llguidance's Lark, and its rejections to errors that name the place in the schema."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from typing import Any

from realizar.errors import GrammarError, short_repr
from realizar.sampling.grammar.breadth import check_breadth
from realizar.sampling.grammar.form import check_form
from realizar.sampling.grammar.numbers import coefficient
from realizar.sampling.grammar.positions import escaped, positions
from realizar.sampling.grammar.rewrite import cannot_be_enforced, rewrite

SPACE = r" |\n{1,2}[ \t]{0,20}"
"""Optional white space in JSON, as in llama.cpp. It is bounded, since a model might never stop otherwise."""

MAX_OBJECTS = 4000
"""Limit on objects in a schema: llguidance follows references recursively; a chain of 1000 overflowed 8 MiB."""

MAX_DEPTH = 120
"""Limit on nested objects and lists; llguidance's limit is 127."""

MAX_LENGTH = 1 << 22
"""Limit on the characters of a schema as JSON."""

_TOO_LARGE = (
    f"json_schema: more than {MAX_OBJECTS} objects, or more than {MAX_DEPTH} levels of nested objects and lists; "
    "use a smaller schema"
)

# llguidance's message, the keyword if the message does not contain it, text to add to it, and whether a value of the
# keyword is the one that the message refers to.
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
_NUMBERED = re.compile(r"\\[ux](?:00)?(?:[01]|7f)|\x7f", re.IGNORECASE)
"""A control character in a JSON schema, or its number in a regular expression."""
_NEVER = ("$ref", "patternProperties", "multipleOf")
"""Keywords that lenient=True does not ignore either."""


def from_schema(schema: Mapping[str, Any] | str, lenient: bool = False) -> str:
    """Return the grammar of the JSON texts that a schema describes; see `json_rule`."""
    return f"start: {json_rule(schema, lenient)}"


def json_rule(schema: Mapping[str, Any] | str, lenient: bool | None = False) -> str:
    """Return the body of a Lark rule for the JSON texts of a schema; properties come in the schema's order.

    Parameters
    ----------
    schema : mapping or str
        The schema, or its JSON text.
    lenient : bool | None
        True: ignore keywords that cannot be enforced, and treat ``oneOf`` as ``anyOf``. False: reject them. None: as
        the schema's own "x-guidance" says.

    Raises
    ------
    GrammarError
        The schema is not a JSON object, is too large, or has a keyword whose value is wrong or that cannot be enforced.
    """
    parsed = read_schema(schema)
    own = parsed.get("x-guidance", {})  # llguidance's options in a schema
    if not isinstance(own, dict):
        raise GrammarError(f'json_schema: "x-guidance": {short_repr(own)}: must be an object')
    rewrite(parsed, own.get("lenient") is True if lenient is None else lenient)
    check_breadth(parsed)
    space = {} if own.get("whitespace_flexible") is False else {"whitespace_pattern": SPACE}
    leniency = {} if lenient is None else {"lenient": lenient, "coerce_one_of": lenient}
    options = {**space, **_escapes(parsed), **own, **leniency}
    return f"%json {json.dumps({**parsed, 'x-guidance': options})}"


def _escapes(schema: dict[str, Any]) -> dict[str, str]:
    r"""Return llguidance's option for the escapes in strings: none by number, where the schema needs none.

    Otherwise a key of an open object could be "\u0061", and repeat a property "a" with a value that its schema forbids.
    """
    return {} if _NUMBERED.search(json.dumps(schema)) else {"json_allowed_escapes": 'bfnrt\\"'}


def refusal(schema: Mapping[str, Any] | str, message: str) -> str:
    """Return an error message for llguidance's rejection of a schema, with the keywords at fault and their places."""
    for pattern, keyword, what, is_meant in _REFUSALS:
        if found := re.search(pattern, message):
            keywords = [keyword] if keyword else json.loads(found[1])
            meant = [
                (f"{path}/{escaped(name)}", position[name])
                for path, position in positions(read_schema(schema))
                for name in keywords
                if name in position and is_meant(position[name], found)
            ]
            value = short_repr(meant[0][1]) if meant else found[1]
            named = ", ".join(map(short_repr, keywords)) + what.format(*found.groups(), value=value)
            return cannot_be_enforced(named, [place for place, _ in meant], keyword not in _NEVER)
    return f"json_schema: {message}"


def _has_digits(value: Any, said: str) -> bool:
    """Whether llguidance's message, which has a number's rounded digits without the point, refers to this value."""
    return isinstance(value, (int, float)) and float(coefficient(value)) == float(said)


def read_schema(schema: Mapping[str, Any] | str) -> dict[str, Any]:
    """Return a schema parsed from JSON, in which whole numbers are ints.

    Raises
    ------
    GrammarError
        The schema is not a JSON object, is too large, or has a keyword whose value is of a wrong type.
    """
    try:
        text = schema if isinstance(schema, str) else json.dumps(schema)
        if len(text) > MAX_LENGTH:
            raise ValueError(f"{len(text)} characters, but the limit is {MAX_LENGTH}")
        parsed = json.loads(text, parse_constant=_no_number, parse_float=_number)
    except RecursionError:
        raise GrammarError(_TOO_LARGE) from None
    except (TypeError, ValueError) as error:
        raise GrammarError(f"json_schema: cannot be read: {error}") from None
    if not isinstance(parsed, dict):
        raise GrammarError(f"json_schema={short_repr(schema)}: must be a JSON object")
    _check_size(parsed)
    check_form(parsed)
    return parsed


def _no_number(name: str) -> float:
    raise ValueError(f"{name} is not a JSON number")


def _number(text: str) -> float:
    """Return a number; 2.0 becomes 2, which llguidance requires in maxItems and similar keywords."""
    value = float(text)
    if math.isinf(value):
        raise ValueError(f"{text} is too large for a double")
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
