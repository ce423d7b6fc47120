"""Bounds of a JSON schema that llguidance cannot represent exactly are moved inwards to ones that it can.

llguidance stores a number as a double and writes bounds as 64-bit integers. Above 2^53 a double cannot represent every
integer; for numbers that need not be integers, llguidance writes the shortest decimal that rounds to the double, which
may be outside the bound. A bound moved inwards never allows a number that the schema forbids. It does forbid some
numbers that the schema allows: the 1024 smallest of int64, those of uint64 above int64, and of doubles those above
9.2e18 (bounded numbers are written without an exponent).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from decimal import ROUND_CEILING, Context, Decimal
from typing import Any

from realizar.errors import short_repr

EXACT = 2**53
"""Every integer up to this one is a double."""
MAX_INTEGER = 2**63 - 1
"""Greatest upper bound of integers: as a double it is 2^63, which llguidance converts back to this."""
MAX_DOUBLE = 2**63 - 1024
"""Greatest double that is a 64-bit integer; its negative is the least lower bound of integers."""
MAX_NUMBER = 9_223_372_036_854_770_000
"""The same with 15 significant digits, which every double preserves."""
MIN_NUMBER = Decimal("1e-60")
"""A bound nearer to 0 would have so many zeros that its regular expression is nested too deeply."""
MAX_UNPAIRED = 10**18
"""A lower bound of at least this requires an upper one too, and vice versa."""

_DIGITS = Context(prec=15, rounding=ROUND_CEILING)


def fit_bounds(schema: dict[str, Any], refuse: Callable[[str, str], None]) -> None:
    """Move the bounds of one schema inwards if llguidance would not enforce them exactly.

    Parameters
    ----------
    schema : dict
        Changed in place.
    refuse : callable
        Called with the keyword and a description of a bound if no number within the bounds can be written.
    """
    types = schema.get("type")
    is_integer = types == "integer" or (isinstance(types, list) and "integer" in types and "number" not in types)
    low, high = _bound(schema, "minimum", "exclusiveMinimum", 1), _bound(schema, "maximum", "exclusiveMaximum", -1)
    if low and high and _is_lost(low, high, is_integer):
        lower, upper = _keyword(schema, low, "minimum"), _keyword(schema, high, "maximum")
        refuse(
            lower,
            f" of {short_repr(schema[lower])} with {short_repr(upper)} of {short_repr(schema[upper])}, between which "
            "no number can be written exactly,",
        )
        for keyword in ("minimum", "exclusiveMinimum"):
            schema.pop(keyword, None)
        low = None
    for bound, keyword, exclusive, sign in (
        (low, "minimum", "exclusiveMinimum", 1),
        (high, "maximum", "exclusiveMaximum", -1),
    ):
        if bound is None or not _is_inexact(*bound):
            continue
        found = _inward(*bound, sign, is_integer)
        if found is None:
            refuse(keyword if keyword in schema else exclusive, "")
            continue
        schema.pop(exclusive, None)
        schema[keyword] = found
        other = "maximum" if sign > 0 else "minimum"
        if sign * found >= MAX_UNPAIRED and (high if sign > 0 else low) is None:
            schema[other] = _inward(sign * Decimal(2**70), False, -sign, is_integer)


def is_exact(value: int | float) -> bool:
    """Whether llguidance writes a number of ``const`` or ``enum`` exactly."""
    if isinstance(value, float):
        return True
    return abs(value) <= EXACT or (abs(value) <= MAX_DOUBLE and int(float(value)) == value)


def lcm_overflows(values: list[int | float]) -> bool:
    """Whether the least common multiple of the ``multipleOf`` values overflows in llguidance.

    llguidance combines two values by their least common multiple, in 32-bit integers without a check for overflow.
    """
    pairs = [_decimal(value) for value in values]
    most = max((exp for _, exp in pairs), default=0)
    scaled: list[int] = sorted({coef * 10 ** (most - exp) for coef, exp in pairs if coef})
    if len(scaled) < 2:
        return False
    product: int = (scaled[0] if len(scaled) == 2 else math.lcm(*scaled)) * scaled[-1]
    return product >= 2**32


def coefficient(value: int | float) -> int:
    """Return the digits of a number without its decimal point, as llguidance counts those of ``multipleOf``."""
    return _decimal(value)[0]


def _decimal(number: int | float) -> tuple[int, int]:
    """Return the coefficient and the decimal places of a number, computed from its double like in llguidance."""
    value, exp = abs(float(min(number, 1e300))), 0
    while not value.is_integer():
        value *= 10.0
        exp += 1
    coef = int(value)
    while exp and coef % 10 == 0:
        coef //= 10
        exp -= 1
    return coef, exp


def _is_inexact(value: Decimal, is_exclusive: bool) -> bool:
    return abs(value) > EXACT - is_exclusive or 0 < abs(value) < MIN_NUMBER


def _is_lost(low: tuple[Decimal, bool], high: tuple[Decimal, bool], is_integer: bool) -> bool:
    """Whether two bounds allow some numbers, but none after they are moved inwards."""
    least, most = (
        _inward(*bound, sign, is_integer) if _is_inexact(*bound) else bound[0] for bound, sign in ((low, 1), (high, -1))
    )
    if least is None or most is None or least <= most:
        return False
    if not is_integer:
        return low[0] < high[0] or (low[0] == high[0] and not low[1] and not high[1])
    first = math.floor(low[0]) + 1 if low[1] else math.ceil(low[0])
    last = math.ceil(high[0]) - 1 if high[1] else math.floor(high[0])
    return first <= last


def _keyword(schema: dict[str, Any], bound: tuple[Decimal, bool], keyword: str) -> str:
    """Return the keyword of a bound: `keyword` or its exclusive form."""
    exclusive = f"exclusive{keyword.capitalize()}"
    is_own = bound[1] and schema.get(exclusive) is not True
    return exclusive if is_own else keyword


def _bound(schema: dict[str, Any], keyword: str, exclusive: str, sign: int) -> tuple[Decimal, bool] | None:
    """Return the narrower bound of two keywords, and whether it is exclusive."""
    plain, strict = schema.get(keyword), schema.get(exclusive)
    found = []
    if isinstance(plain, (int, float)) and not isinstance(plain, bool):
        found.append((Decimal(plain), strict is True))  # True: the form of draft 4
    if isinstance(strict, (int, float)) and not isinstance(strict, bool):
        found.append((Decimal(strict), True))
    return max(found, key=lambda bound: (sign * bound[0], bound[1]), default=None)


def _inward(value: Decimal, is_exclusive: bool, sign: int, is_integer: bool) -> int | float | None:
    """Return the nearest inclusive bound further inwards that llguidance enforces exactly, or None.

    The sign is 1 for lower bounds and -1 for upper ones.
    """
    if is_integer and sign < 0 and value - is_exclusive >= MAX_INTEGER:
        return MAX_INTEGER
    found = (_integer_above if is_integer else _number_above)(sign * value, is_exclusive)
    return None if found is None else sign * found


def _integer_above(value: Decimal, is_exclusive: bool) -> int | None:
    least = max(math.floor(value) + 1 if is_exclusive else math.ceil(value), -MAX_DOUBLE)
    if least > MAX_DOUBLE:
        return None
    near = float(least)
    return int(near if near >= least else math.nextafter(near, math.inf))


def _number_above(value: Decimal, is_exclusive: bool) -> int | float | None:
    if abs(value) < MIN_NUMBER:
        return float(MIN_NUMBER) if value > 0 else 0
    if value > MAX_NUMBER or (is_exclusive and value == MAX_NUMBER):
        return None
    if value < -MAX_NUMBER:
        return -MAX_NUMBER
    rounded = _DIGITS.plus(value)
    return int(_DIGITS.next_plus(value) if is_exclusive and rounded == value else rounded)
