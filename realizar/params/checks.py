"""Validation helpers; each raises a ParameterError with the name, the value and the requirement."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from realizar.errors import ParameterError, short_repr


def check(ok: bool, name: str, value: object, want: str) -> None:
    """Raise ParameterError unless `ok`."""
    if not ok:
        raise ParameterError(f"{name}={short_repr(value)}: must be {want}")


def as_tuple(name: str, value: Iterable[Any], want: str) -> tuple[Any, ...]:
    """Return an iterable as a tuple; raises ParameterError if it is not iterable."""
    try:
        return tuple(value)
    except TypeError:
        raise ParameterError(f"{name}={short_repr(value)}: must be {want}") from None


def is_int(value: object) -> bool:
    """Whether the value is an int and not a bool."""
    return isinstance(value, int) and not isinstance(value, bool)


def check_number(name: str, value: object, low: float, high: float, want: str) -> None:
    """Raise ParameterError unless the value is a number in [low, high]."""
    # Not converted to float: NaN fails every comparison, and an int may be too large for a float.
    ok = isinstance(value, (int, float)) and not isinstance(value, bool) and low <= value <= high
    check(ok, name, value, want)


def is_text(value: str) -> bool:
    """Whether a string is non-empty and encodable as UTF-8 (no lone surrogates)."""
    return bool(value) and not any("\ud800" <= char <= "\udfff" for char in value)


def schema_text(name: str, value: object) -> str:
    """Return a JSON schema (a mapping or JSON text) as immutable JSON text."""
    want = "a JSON object: a mapping or JSON text"
    try:
        parsed = json.loads(value) if isinstance(value, str) else value
        check(isinstance(parsed, Mapping), name, value, want)
        text = json.dumps(parsed, allow_nan=False)
    except RecursionError:
        raise ParameterError(f"{name}={short_repr(value)}: must not be nested so deeply") from None
    except (TypeError, ValueError) as error:
        raise ParameterError(f"{name}={short_repr(value)}: must be {want}; {error}") from None
    return text
