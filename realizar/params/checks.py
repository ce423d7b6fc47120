"""Checks of what a user gives; each raises ParameterError with the name, the value and what it must be."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from realizar.errors import ParameterError, shown


def check(ok: bool, name: str, value: object, want: str) -> None:
    """Raise ParameterError unless it is ok."""
    if not ok:
        raise ParameterError(f"{name}={shown(value)}: must be {want}")


def as_tuple(name: str, value: Iterable[Any], want: str) -> tuple[Any, ...]:
    """Return the items of a value, which must have some."""
    try:
        return tuple(value)
    except TypeError:
        raise ParameterError(f"{name}={shown(value)}: must be {want}") from None


def is_int(value: object) -> bool:
    """Whether it is an integer, and neither True nor False."""
    return isinstance(value, int) and not isinstance(value, bool)


def check_number(name: str, value: object, low: float, high: float, want: str) -> None:
    """Raise ParameterError unless it is a number in [low, high]."""
    # Compared as it is: NaN is in no range, and an integer may be too large for a float.
    ok = isinstance(value, (int, float)) and not isinstance(value, bool) and low <= value <= high
    check(ok, name, value, want)


def is_text(value: str) -> bool:
    """Whether there is something, and nothing that UTF-8 cannot express (halves of surrogate pairs)."""
    return bool(value) and not any("\ud800" <= char <= "\udfff" for char in value)


def schema_text(name: str, value: object) -> str:
    """Return the JSON text of a schema, given as that or as a mapping: a value that nobody changes any more."""
    want = "a JSON object: a mapping, or its text"
    try:
        parsed = json.loads(value) if isinstance(value, str) else value
        check(isinstance(parsed, Mapping), name, value, want)
        text = json.dumps(parsed, allow_nan=False)
    except RecursionError:
        raise ParameterError(f"{name}={shown(value)}: must not be nested so deeply") from None
    except (TypeError, ValueError) as error:
        raise ParameterError(f"{name}={shown(value)}: must be {want}; {error}") from None
    return text
